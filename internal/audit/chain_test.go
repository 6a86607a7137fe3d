package audit_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/drone-entra/drone-entra/internal/audit"
	"github.com/drone-entra/drone-entra/secret"
)

func TestVerifyFollowsTheChainAcrossRestartsAndRotation(t *testing.T) {
	file := place(t)
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	o := audit.Options{File: file, MaxBytes: 2000, Now: func() time.Time { now = now.Add(time.Second); return now }}
	written(t, o, 7)
	written(t, o, 7)
	v := verified(t, file)
	older := match(t, filepath.Dir(file), "audit-*.jsonl")
	if len(older) < 2 || older[0] != filepath.Join(filepath.Dir(file), "audit-000000000001.jsonl") || !slices.Equal(v.Files, append(older, file)) {
		t.Errorf("files: %v, verified: %v", older, v.Files)
	}
	if rotations := uint64(len(older)); v.Lines != 14+rotations || v.Seq != v.Lines || v.FirstSeq != 1 {
		t.Errorf("%d lines, seq %d to %d, %d rotations", v.Lines, v.FirstSeq, v.Seq, rotations)
	}
	if !v.First.Equal(now.Add(-v.Last.Sub(v.First))) || v.Last.Sub(v.First) < 13*time.Second {
		t.Errorf("from %v to %v, now %v", v.First, v.Last, now)
	}
	for _, f := range v.Files {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, info.Mode(), err)
		}
	}
}

// What was archived is not broken, and what was removed is.
func TestOlderFilesElsewhere(t *testing.T) {
	file := place(t)
	written(t, audit.Options{File: file, MaxBytes: 2000}, 12)
	older := match(t, filepath.Dir(file), "audit-*.jsonl")
	if err := os.Remove(older[1]); err != nil {
		t.Fatal(err)
	}
	wantBroken(t, file, filepath.Base(older[2]), 1, "lines are missing before it")
	if err := os.Remove(older[0]); err != nil {
		t.Fatal(err)
	}
	v := verified(t, file)
	if v.FirstSeq == 1 || v.Seq != v.FirstSeq+v.Lines-1 {
		t.Errorf("%+v", v)
	}
	all := lines(t, older[2])
	put(t, older[2], bytes.Join(all[1:], nil))
	wantBroken(t, file, filepath.Base(older[2]), 1, "a line is missing before it")
}

func wantBroken(t testing.TB, file, in string, line uint64, why string) {
	t.Helper()
	_, err := audit.Verify(file)
	var b *audit.Broken
	if !errors.As(err, &b) {
		t.Fatalf("got %v, want %s line %d: %s", err, in, line, why)
	}
	if b.File != in || b.Line != line || !strings.Contains(b.Why, why) {
		t.Fatalf("got %v, want %s line %d: %s", err, in, line, why)
	}
}

func TestVerifyNamesTheFirstBadLine(t *testing.T) {
	file := place(t)
	written(t, audit.Options{File: file}, 6)
	good := lines(t, file)
	join := func(all ...[]byte) []byte {
		return append(bytes.TrimSuffix(bytes.Join(all, []byte{}), []byte("\n")), '\n')
	}
	tests := []struct {
		name    string
		content []byte
		line    uint64
		want    string
	}{
		{"changed", bytes.Replace(join(good...), []byte(`"number":4`), []byte(`"number":9`), 1), 4,
			"audit.jsonl line 4 (seq 4): the line was changed: its hash does not match"},
		{"removed", join(slices.Delete(slices.Clone(good), 2, 3)...), 3, "audit.jsonl line 3 (seq 4): a line is missing before it: seq 3"},
		{"two removed", join(slices.Delete(slices.Clone(good), 2, 4)...), 3, "audit.jsonl line 3 (seq 5): lines are missing before it: seq 3 to 4"},
		{"first removed", join(good[1:]...), 1, "audit.jsonl line 1 (seq 2): a line is missing before it: seq 1"},
		{"swapped", join(good[0], good[2], good[1], good[3]), 2,
			"audit.jsonl line 2 (seq 3): lines were moved: here belongs seq 2, which stands in line 3"},
		{"twice", join(good[0], good[1], good[1], good[2]), 3, "audit.jsonl line 3 (seq 2): the line is out of its place: here belongs seq 3"},
		{"empty line", join(good[0], []byte("\n"), good[1]), 2, "audit.jsonl line 2 (seq 2): the line was changed: it does not end in its hash"},
		{"torn", join(good...)[:len(join(good...))-5], 6, "audit.jsonl line 6 (seq 6): the line is torn: the file ends inside it"},
		{"too long", join(good[0], bytes.Repeat([]byte("x"), 1<<20)), 2, "audit.jsonl line 2 (seq 2): the line was changed: it is longer than any line of a record"},
		{"carriage returns", bytes.ReplaceAll(join(good...), []byte("\n"), []byte("\r\n")), 1, "audit.jsonl line 1 (seq 1): the line was changed: it does not end in its hash"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			put(t, file, tt.content)
			v, err := audit.Verify(file)
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			if v.Lines != tt.line-1 {
				t.Errorf("%d good lines before line %d", v.Lines, tt.line)
			}
		})
	}
}

// A forger who hashes his line anew is found all the same.
func TestVerifyFindsAReplacedLine(t *testing.T) {
	file, other := place(t), place(t)
	written(t, audit.Options{File: file}, 5)
	r := open(t, audit.Options{File: other})
	record(t, r, release(1), release(2), release(77), release(4))
	shut(t, r)
	all := lines(t, file)
	all[2] = lines(t, other)[2]
	put(t, file, append(bytes.Join(all, nil), '\n'))
	wantBroken(t, file, "audit.jsonl", 3, "one of the two was replaced")
}

func TestChangingAnyByteBreaksThatLine(t *testing.T) {
	file := place(t)
	written(t, audit.Options{File: file}, 4)
	good := bytes.Join(lines(t, file), nil)
	good = append(good, '\n')
	rapid.Check(t, func(rt *rapid.T) {
		at := rapid.IntRange(0, len(good)-2).Draw(rt, "at") // the last newline: see "torn" above
		to := rapid.Byte().Filter(func(b byte) bool { return b != good[at] }).Draw(rt, "to")
		bad := bytes.Clone(good)
		bad[at] = to
		put(t, file, bad)
		wantBroken(t, file, "audit.jsonl", 1+uint64(bytes.Count(good[:at], []byte("\n"))), "the line was changed")
	})
}

func TestVerifyEmptyAndUnreadable(t *testing.T) {
	file := place(t)
	written(t, audit.Options{File: file}, 0)
	if v := verified(t, file); v.Lines != 0 || v.Hash != "" {
		t.Errorf("%+v", v)
	}
	if _, err := audit.Verify(file + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if err := os.Mkdir(strings.TrimSuffix(file, ".jsonl")+"-000000000001.jsonl", 0o700); err != nil {
		t.Fatal(err)
	}
	var b *audit.Broken
	if _, err := audit.Verify(file); err == nil || errors.As(err, &b) {
		t.Errorf("an older file is a directory: %v", err)
	}
}

// Verify may run while the record is written and rotated.
func TestVerifyBesideTheWriter(t *testing.T) {
	file := place(t)
	r := open(t, audit.Options{File: file, MaxBytes: 4000})
	done := make(chan error)
	go func() {
		var err error
		for i := int64(1); i <= 1000 && err == nil; i++ {
			err = r.Record(t.Context(), release(i))
		}
		done <- err
	}()
	for {
		verified(t, file)
		select {
		case err := <-done:
			must(t, err)
			return
		default:
		}
	}
}

var _ secret.Recorder = (*audit.Record)(nil)
