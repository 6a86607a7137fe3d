package secret

// Slugs, logins and secret names compare without case, in ASCII only: forges and Key Vault fold A–Z, and folding more
// (K to k, ſ to s) would make a look-alike equal.

// lower folds one byte. Bytes of a longer UTF-8 character are all above 0x7f and stay as they are.
func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

// equalFold compares without ASCII case.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

// fold returns s in ASCII lower case.
// It returns s itself, without an allocation, where that is in lower case already.
func fold(s string) string {
	for i := range len(s) {
		if lower(s[i]) != s[i] {
			b := []byte(s)
			for j := range b {
				b[j] = lower(b[j])
			}
			return string(b)
		}
	}
	return s
}
