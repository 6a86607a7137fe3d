package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// fileMark begins the line that stands before each file where several are kept as one. No file that Load accepts has a
// line that begins so: what is kept can be taken apart again in one way only.
const fileMark = "# FILE "

// content is what the record keeps of the files, and its SHA-256. Of several files, each is then a part of it. It makes
// the files' Content point into the kept bytes, so that they are in memory once.
func content(files []File) (kept []byte, sum string) {
	if len(files) == 1 {
		kept = files[0].Content
	} else {
		kept = joinedFiles(files)
	}
	digest := sha256.Sum256(kept)
	return kept, hex.EncodeToString(digest[:])
}

// joinedFiles writes several files as one, in order of name: the same files named in another order are the same
// configuration and have the same SHA-256.
func joinedFiles(files []File) []byte {
	size, sorted := 0, make([]*File, len(files))
	for i := range files {
		sorted[i] = &files[i]
		size += len(fileMark) + len(files[i].Name) + len(files[i].Content) + 2
	}
	slices.SortFunc(sorted, func(a, b *File) int { return strings.Compare(a.Name, b.Name) })
	kept := make([]byte, 0, size)
	for _, f := range sorted {
		kept = append(append(append(kept, fileMark...), f.Name...), '\n')
		begin := len(kept)
		kept = append(kept, f.Content...)
		// With its capacity cut, nobody can append over the next file. The room was reserved above, so kept never
		// moves.
		f.Content = kept[begin:len(kept):len(kept)]
		if !bytes.HasSuffix(f.Content, []byte("\n")) {
			kept = append(kept, '\n') // or the next mark would end this file's last line
		}
	}
	return kept
}

// marked returns the line, counted from 1, that begins with the mark, or 0. A file with such a line is refused, as it
// could not be told from two files when it is read again.
func marked(content []byte) (line int) {
	for rest, n := content, 1; ; n++ {
		if bytes.HasPrefix(rest, []byte(fileMark)) {
			return n
		}
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			return 0
		}
		rest = rest[end+1:]
	}
}

// Replay loads a configuration as it was kept beside the record: the bytes of one file, or several, each after its line
// "# FILE NAME". Places are those of the files at their time; a single one is called name. It reads no file.
//
// Content and SHA256 of what it returns are those of the configuration when it was in force, which shows whether the kept
// bytes were altered. It takes the same way as Load from there on, confinement included. A kept configuration that this
// version no longer accepts has problems like any other.
func Replay(content []byte, name string) (*Config, Problems) {
	r := newReport()
	files := split(content, name)
	var names []string
	for _, f := range files {
		names = append(names, f.Name)
	}
	// Load would never have kept these: somebody wrote the file by hand.
	if len(distinct(names, r)) < len(names) {
		return nil, r.problems()
	}
	return load(r, files)
}

// split takes kept files apart.
//
//	"# FILE a.yaml\nversion: 1\n# FILE b.yaml\nversion: 1\n"   a.yaml and b.yaml, each with "version: 1\n"
//	"version: 1\n"                                             one file, called name
func split(content []byte, name string) (files []File) {
	if !bytes.HasPrefix(content, []byte(fileMark)) {
		return []File{{name, content}}
	}
	// At each turn content begins with a mark.
	for len(content) > 0 {
		line, rest, _ := bytes.Cut(content[len(fileMark):], []byte("\n"))
		end := len(rest)
		if bytes.HasPrefix(rest, []byte(fileMark)) {
			end = 0
		} else if i := bytes.Index(rest, []byte("\n"+fileMark)); i >= 0 {
			end = i + 1
		}
		files = append(files, File{string(line), rest[:end]})
		content = rest[end:]
	}
	return files
}
