package issuer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

var errNoKeySet = errors.New("it holds no JSON Web Key Set")

// maxKeySet bounds a key set that is read, in bytes: far more than the hundred keys that Entra keeps.
const maxKeySet = 1 << 20

// Publish writes the two documents below dir, for a web server or a storage account that serves them as the issuer's URL,
// and returns the files' names in the order of writing. The documents are public: files have mode 0644, new directories
// 0755.
//
// The keys come first, so that no discovery document leads to keys that are not there yet. Each file is replaced whole: who
// reads meanwhile reads the old or the new one. Nothing is written unless both documents could be made.
//
// A key of the set in dir that is listed no more is a key whose tokens nobody will be able to verify. It is refused unless
// its kid is among drop; the error names it. Plan says when that loses nothing. A kid in drop that is listed is refused,
// too: the operator means something else than the configuration says.
func (i *Issuer) Publish(ctx context.Context, dir string, drop ...string) ([]string, error) {
	set, err := i.keySet(ctx)
	if err != nil {
		return nil, err
	}
	for _, kid := range drop {
		if len(set.Key(kid)) > 0 {
			return nil, fmt.Errorf("the key %s is to be dropped and is still listed in the configuration: take it out there first", inWords(kid))
		}
	}
	keys := filepath.Join(dir, filepath.FromSlash(keySetPath))
	before, err := publishedIn(keys)
	if err != nil {
		return nil, fmt.Errorf("%s is there already and can't be compared with the keys of the configuration: %w: "+
			"is it the right directory? If so, take the file away", keys, err)
	}
	var lost []string
	for _, kid := range before {
		if len(set.Key(kid)) == 0 && !slices.Contains(drop, kid) {
			lost = append(lost, inWords(kid))
		}
	}
	if lost != nil {
		return nil, fmt.Errorf("%s has keys that the configuration does not list: %s. Tokens that they signed could not be verified any more. "+
			"List them again, or drop each by its id once `issuer rotate` says that nothing they signed is valid", keys, strings.Join(lost, ", "))
	}
	content, err := indented(set)
	if err != nil {
		return nil, fmt.Errorf("the key set can't be written: %w", err)
	}
	discovery := filepath.Join(dir, filepath.FromSlash(discoveryPath))
	if err := replace(keys, content); err != nil {
		return nil, err
	}
	if err := replace(discovery, i.Discovery()); err != nil {
		return []string{keys}, err
	}
	return []string{keys, discovery}, nil
}

// inWords is a kid as people may see it: what stands in a file or came from a server may be anything.
func inWords(kid string) string {
	if isKeyID(kid) {
		return kid
	}
	if len(kid) > 50 {
		kid = kid[:50] + "…"
	}
	return strconv.QuoteToASCII(kid)
}

// isKeyID tells whether s can be one of KeyID's.
func isKeyID(s string) bool {
	return len(s) == 43 && !strings.ContainsFunc(s, func(r rune) bool { return !letterOrDigit(r) && r != '-' && r != '_' })
}

// publishedIn reads the ids in a file that may be missing.
func publishedIn(file string) ([]string, error) {
	// Asked first, because to open a pipe is to wait for whoever writes into it.
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is no regular file")
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxKeySet+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxKeySet {
		return nil, errNoKeySet
	}
	return ParseKeySet(b)
}

// replace puts a file there whole, through another one beside it. Nothing else is left behind, whatever fails.
func replace(file string, content []byte) error {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("a directory to publish in can't be made: %w", err)
	}
	f, err := os.CreateTemp(dir, ".publish-*")
	if err != nil {
		return fmt.Errorf("nothing can be written where %s belongs: %w", file, err)
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("%s can't be written: %w", file, err)
	}
	return nil
}
