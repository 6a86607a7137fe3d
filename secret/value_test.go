package secret_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"text/template"

	"github.com/drone-entra/drone-entra/secret"
)

// holder is a struct of somebody else's that has a value in it.
type holder struct {
	Name  string
	Value secret.Value
	In    *secret.Fetched
	List  []secret.Value
	Map   map[string]secret.Value
}

func newHolder() holder {
	v := secret.NewValue([]byte(canary))
	return holder{"n", v, &secret.Fetched{Value: v}, []secret.Value{v}, map[string]secret.Value{"k": v}}
}

var everyFlag = []string{"", "+", "#", "-", " ", "0", "30", ".3", "# ", "+#10.5"}

// traces are the ways in which the canary's bytes could be read out of a text.
func traces() []string {
	decimal := fmt.Sprintf("%d", []byte(canary))
	return []string{
		canary, canary[:8], canary[len(canary)-8:], hex.EncodeToString([]byte(canary)), strings.ToUpper(hex.EncodeToString([]byte(canary))),
		strings.Trim(decimal, "[]"), fmt.Sprintf("% x", canary), "0x63, 0x34", "0x63 0x34", "YzRuNHJ5", // the last is base64
	}
}

func unseen(t *testing.T, how, text string) {
	t.Helper()
	for _, trace := range traces() {
		if strings.Contains(text, trace) {
			t.Errorf("%s shows the value: %s", how, text)
			return
		}
	}
}

func TestAValueNeverPrints(t *testing.T) {
	v := secret.NewValue([]byte(canary))
	for _, flags := range everyFlag {
		for _, verb := range "vTtbcdoOqxXUeEfFgGs!z" {
			format := "%" + flags + string(verb)
			for _, x := range []any{v, &v, []secret.Value{v}, [1]secret.Value{v}, map[string]secret.Value{"k": v}, fmt.Errorf("wrapped: %v", v)} {
				unseen(t, fmt.Sprintf("%s of %T", format, x), fmt.Sprintf(format, x))
			}
		}
		format := "%" + flags + "v"
		for _, x := range []any{newHolder(), *newHolder().In, newHolder().In} {
			unseen(t, fmt.Sprintf("%s of %T", format, x), fmt.Sprintf(format, x))
		}
	}
	for how, text := range map[string]string{"String": v.String(), "GoString": v.GoString(), "Sprint": fmt.Sprint(v, &v), "Sprintln": fmt.Sprintln(v)} {
		if unseen(t, how, text); !strings.Contains(text, "[redacted]") {
			t.Errorf("%s is %q, want it to say [redacted]", how, text)
		}
	}
	if got := fmt.Sprintf("%s|%x|%#v", v, v, v); got != "[redacted]|[redacted]|[redacted]" {
		t.Errorf("got %s", got)
	}
	var zero secret.Value
	if fmt.Sprint(zero) != "[redacted]" || zero.Len() != 0 {
		t.Errorf("the zero Value prints %v and tells that it is empty", zero)
	}
}

func TestAValueNeverMarshals(t *testing.T) {
	h := newHolder()
	text, err := json.Marshal(h)
	if unseen(t, "json", string(text)); err != nil || strings.Count(string(text), `"[redacted]"`) != 4 {
		t.Errorf("json: %s, %v", text, err)
	}
	text, err = xml.Marshal(h.Value)
	if unseen(t, "xml", string(text)); err != nil {
		t.Error(err)
	}
	text, err = h.Value.MarshalText()
	if string(text) != "[redacted]" || err != nil {
		t.Errorf("MarshalText: %s, %v", text, err)
	}
	var b strings.Builder
	shape := template.Must(template.New("").Parse(`{{.Value}} {{printf "%s %x %q" .Value .Value .Value}} {{.In}} {{.List}} {{.Map.k}} {{.Value | js}} {{.Value | html}}`))
	if err := shape.Execute(&b, h); err != nil {
		t.Error(err)
	}
	unseen(t, "a template", b.String())
}

func TestAValueNeverLogs(t *testing.T) {
	var b bytes.Buffer
	options := &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&b, options), slog.NewTextHandler(&b, options)} {
		log := slog.New(handler)
		h := newHolder()
		log.Info("m", "v", h.Value, "p", &h.Value, "h", h, "f", *h.In, "list", h.List, "map", h.Map, slog.Group("g", "v", h.Value))
		log.With("v", h.Value).Debug("m", "err", fmt.Errorf("get %v: %w", h.Value, errors.New("x")))
	}
	unseen(t, "slog", b.String())
	if strings.Count(b.String(), "[redacted]") < 10 {
		t.Errorf("slog says too little: %s", b.String())
	}
}

func TestRevealIsTheOneExitAndClearTheEnd(t *testing.T) {
	v := secret.NewValue([]byte(canary))
	if string(v.Reveal()) != canary || v.Len() != len(canary) {
		t.Errorf("Reveal gives %q", v.Reveal())
	}
	copied := v
	v.Clear()
	if !bytes.Equal(copied.Reveal(), make([]byte, len(canary))) {
		t.Error("Clear leaves bytes behind")
	}
	secret.Value{}.Clear()
	for _, err := range []error{secret.Fail(secret.Denied, "key", "x"), fmt.Errorf("a: %w", secret.Fail(secret.Denied, "key", "x"))} {
		if e := secret.AsError(err); e.Kind != secret.Denied || e.Reason != "key" {
			t.Errorf("AsError(%v) is %v", err, e)
		}
	}
	if e := secret.AsError(errors.New(canary)); e.Kind != secret.Internal || strings.Contains(e.Error(), canary) {
		t.Errorf("AsError vouches for a stranger's text: %v", e)
	}
}

// fmt calls no methods on unexported fields, nor under %p and %w, nor while it reports a wrong verb.
func TestValueHidesWhereFmtCallsNoMethods(t *testing.T) {
	type hidden struct {
		value secret.Value
		list  []secret.Value
	}
	v := secret.NewValue([]byte(canary))
	for _, flags := range everyFlag {
		for _, verb := range "vTtbcdoOqxXUeEfFgGspw!z" {
			format := "%" + flags + string(verb)
			for _, x := range []any{v, &v, []secret.Value{v}, [1]secret.Value{v}, newHolder(), *newHolder().In, hidden{v, []secret.Value{v}}, &hidden{value: v}} {
				if text := fmt.Sprintf(format, x); strings.Contains(text, "99 52 110") || strings.Contains(text, "0x63, 0x34, 0x6e") || strings.Contains(strings.ToLower(text), "63346e3472792d") /* an address has not so many digits */ {
					t.Fatalf("%s of %T: %s", format, x, text)
				}
			}
		}
	}
}
