package config

import (
	"crypto/sha256"
	"fmt"
)

// Fingerprint stands for the present content of everything that Load would read: names, bytes, and what can't be read. Two
// equal ones mean that loading again would give the same. It parses nothing, so that asking often costs little.
func Fingerprint(paths []string) [sha256.Size]byte {
	r := &report{}
	h := sha256.New()
	for _, name := range expand(paths, r) {
		content, err := readFile(name)
		fmt.Fprintf(h, "%q %d %v\n", name, len(content), err)
		h.Write(content)
	}
	for _, problem := range r.found {
		fmt.Fprintf(h, "%q %q\n", r.names[problem.file], problem.text)
	}
	return [sha256.Size]byte(h.Sum(nil))
}
