package config

// Fingerprint stands for the present content of everything that Load would read. It is the SHA256 of the Config that Load
// would make of it, if that is good, and something else where a file can't be read. It parses nothing, so that asking often
// costs little. It reads the same files in the same way, so that it changes exactly when a reload would see something
// else.
func Fingerprint(paths []string) string {
	r := newReport()
	files := readAll(paths, r)
	if len(r.found) > 0 {
		return r.problems().String()
	}
	_, sum := content(files)
	return sum
}
