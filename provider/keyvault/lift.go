package keyvault

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"
)

// lifted is where the value of an answer waits for the read that asked. The SDK would make strings of it, which nobody
// can clear, and keep the whole answer until the memory is used again; so it never sees one. Only the read's own goroutine
// touches it.
type lifted struct{ value []byte }

type liftedKey struct{}

// lifting returns a context whose answers leave their value with l.
func lifting(ctx context.Context, l *lifted) context.Context {
	return context.WithValue(ctx, liftedKey{}, l)
}

// take hands the value over, which is then the caller's to clear.
func (l *lifted) take() (value []byte) {
	value, l.value = l.value, nil
	return value
}

// put keeps the value of the last answer; an earlier try's is cleared.
func (l *lifted) put(value []byte) {
	clear(l.value)
	l.value = value
}

// withoutValue puts a body before the SDK that has no value in it, if somebody waits for one. What is no success has none,
// and stays as it is.
func withoutValue(ctx context.Context, resp *http.Response) {
	if to, ok := ctx.Value(liftedKey{}).(*lifted); ok && resp.StatusCode == http.StatusOK {
		resp.Body = &letter{ReadCloser: resp.Body, size: resp.ContentLength, to: to}
	}
}

// letter is a body that is read whole at the first Read, and opened. It fails as the body does.
type letter struct {
	io.ReadCloser
	size   int64 // as the head said it, or not positive
	to     *lifted
	opened bool
	rest   bytes.Reader
	err    error
}

// Read reads what is left without the value.
func (l *letter) Read(p []byte) (int, error) {
	if !l.opened {
		l.opened = true
		l.err = l.open()
	}
	if l.err != nil {
		return 0, l.err
	}
	return l.rest.Read(p)
}

// open reads the answer and takes the value out. An answer that is not one strict JSON object is not handed on, as the value
// may be anywhere in it; the SDK is left with something that is no JSON either.
func (l *letter) open() error {
	answer, err := readWhole(l.ReadCloser, l.size)
	if err != nil {
		return err
	}
	rest, value, ok := lift(answer)
	clear(answer)
	if !ok {
		rest = []byte("?")
	}
	l.rest.Reset(rest)
	l.to.put(value)
	return nil
}

// readWhole is io.ReadAll, but clears what it outgrows and what it gives up. size is how much will come, if that is known;
// the bound is the reader's business.
func readWhole(r io.Reader, size int64) ([]byte, error) {
	room := int64(32 << 10) // more than a secret has
	if 0 < size && size < maxAnswer {
		room = size + 1 // in which the end shows without growing
	}
	b := make([]byte, 0, room)
	for {
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case err == io.EOF:
			return b, nil
		case err != nil:
			clear(b)
			return nil, err
		case len(b) == cap(b):
			grown := make([]byte, len(b), 2*cap(b))
			copy(grown, b)
			clear(b)
			b = grown
		}
	}
}

// lift takes the member `value` out of an answer, in whose rest a placeholder stands for it. It is not ok if the answer is
// not one JSON object and nothing else, names something twice, or has text that is no valid Unicode: encoding/json, which
// the SDK uses, would make of that a value that nobody stored. Both results are copies.
//
// For example {"value":"a\nb","id":"x"} gives {"value":"-","id":"x"}, and a, a newline and b.
func lift(answer []byte) (rest, value []byte, ok bool) {
	d := jsontext.NewDecoder(bytes.NewBuffer(answer)) // which it reads in place
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return nil, nil, false
	}
	from, to := len(answer), len(answer) // where the value is
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, nil, false
		}
		wanted := name.String() == "value"
		raw, err := d.ReadValue()
		if err != nil {
			return nil, nil, false
		}
		if wanted {
			to = int(d.InputOffset())
			from = to - len(raw)
		}
	}
	_, _ = d.ReadToken() // the brace that was seen
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, nil, false
	}
	rest = append(make([]byte, 0, len(answer)), answer[:from]...)
	switch raw := answer[from:to]; {
	case len(raw) == 0:
	case raw[0] == '"':
		value, _ = jsontext.AppendUnquote(make([]byte, 0, len(raw)), raw) // it was read as valid
		rest = append(rest, `"-"`...)
	case raw[0] == 'n':
		rest = append(rest, "null"...)
	default:
		rest = append(rest, '0') // of a type that the SDK refuses, as this one is
	}
	return append(rest, answer[to:]...), value, true
}
