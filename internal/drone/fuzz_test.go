package drone_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/drone-entra/drone-entra/internal/drone"
	"github.com/drone-entra/drone-entra/secret"
)

// bodies is where the fuzzing of the parse begins: what runners really send, and what means nothing or two things.
func bodies(t testing.TB) []string {
	list := []string{
		genuineBody, "", "null", "{}", `{"repo":{},"build":{}}`, `{"repo":{},"repo":{},"build":{}}`,
		`{"name":"a","NAME":"b","repo":{"slug":"a/b","ſlug":"c/d"},"build":{"number":1}}`,
		`{"name":"\ud800","repo":{},"build":{}}`, "{\"name\":\"\xff\",\"repo\":{},\"build\":{}}",
		`{"repo":{},"build":{"number":1e3,"params":{"a":[1,{"b":null}]}}}`, `{"repo":{},"build":{"number":null}}`,
	}
	for _, r := range recordings(t, "*") {
		_, body, _ := bytes.Cut(r.raw, []byte("\r\n\r\n"))
		list = append(list, string(body))
	}
	return list
}

// FuzzParseRequest compares the parse with encoding/json and a search for duplicates: whatever is accepted is one JSON
// value without a name twice in any object, in valid UTF-8, and says to encoding/json, read by exact names, the same.
func FuzzParseRequest(f *testing.F) {
	for _, body := range bodies(f) {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := drone.ParseRequest(body)
		if err != nil {
			return
		}
		if !utf8.Valid(body) {
			t.Fatalf("invalid UTF-8 was accepted: %q", body)
		}
		if err := unambiguous(body); err != nil {
			t.Fatalf("%v: %q", err, body)
		}
		want, err := naively(body)
		if err != nil {
			t.Fatalf("accepted, and encoding/json says %v: %q", err, body)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("%q (-encoding/json +ParseRequest)\n%s", body, d)
		}
	})
}

// naively reads the fields that policy needs through maps, which match names exactly.
func naively(body []byte) (r secret.Request, err error) {
	var top, repo, build map[string]json.RawMessage
	read := func(raw json.RawMessage, to any) {
		if raw != nil && err == nil {
			err = json.Unmarshal(raw, to)
		}
	}
	read(body, &top)
	read(top["repo"], &repo)
	read(top["build"], &build)
	if repo == nil || build == nil {
		return r, errors.Join(err, errors.New("repo or build is missing"))
	}
	read(top["path"], &r.Path)
	read(top["name"], &r.Name)
	for name, to := range map[string]any{"uid": &r.Repo.UID, "slug": &r.Repo.Slug, "default_branch": &r.Repo.DefaultBranch} {
		read(repo[name], to)
	}
	b := &r.Build
	for name, to := range map[string]any{
		"number": &b.Number, "event": &b.Event, "ref": &b.Ref, "after": &b.SHA, "source": &b.Source, "source_repo": &b.SourceRepo,
		"target": &b.Target, "deploy_to": &b.DeployTo, "cron": &b.Cron, "trigger": &b.Trigger, "sender": &b.Sender, "link": &b.Link,
	} {
		read(build[name], to)
	}
	return r, err
}

// unambiguous finds an object that has a name twice.
func unambiguous(body []byte) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := walk(d); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("there is something after the value")
	}
	return nil
}

func walk(d *json.Decoder) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	open, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	seen := map[string]bool{}
	for d.More() {
		if open == '{' {
			name, err := d.Token()
			if err != nil {
				return err
			}
			if seen[name.(string)] {
				return errors.New("a name is there twice: " + name.(string))
			}
			seen[name.(string)] = true
		}
		if err := walk(d); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

// TestTheOracleFindsWhatIsAmbiguous keeps FuzzParseRequest from passing because its oracle is blind.
func TestTheOracleFindsWhatIsAmbiguous(t *testing.T) {
	if err := unambiguous([]byte(genuineBody)); err != nil {
		t.Errorf("the genuine body: %v", err)
	}
	for _, s := range []string{`{"a":1,"a":1}`, `{"a":1,"\u0061":1}`, `[{"x":{"a":1,"a":1}}]`, `{} {}`} {
		if unambiguous([]byte(s)) == nil {
			t.Errorf("%s counts as unambiguous", s)
		}
	}
}

// FuzzSignature hands any text in the headers that prove a request to the endpoint. None panics it, and none is answered
// 200 but what our signer made: the one MAC over the one text that it was asked to sign.
func FuzzSignature(f *testing.F) {
	m := genuine(genuineBody).sign(runnerKey, five)
	good := m.get("Signature")
	for _, s := range []string{
		good, "", `keyId="hmac-key"`, strings.ReplaceAll(good, ",", ", "), good + "," + good, strings.ToUpper(good),
		`algorithm="hmac-sha256",headers="` + five + `",signature="` + strings.Repeat("A", 43) + `=",keyId="k"`,
		`="",="",=`, `keyId="`, strings.Replace(good, five, "date", 1), strings.Replace(good, five, five+" (request-target) host", 1),
	} {
		f.Add(s, "", m.get("Date"), m.get("Digest"), m.get("Accept"))
		f.Add("", "Signature "+s, m.get("Date"), m.get("Digest"), m.get("Accept"))
	}
	f.Add(good, "Basic dTpw", "Mon, 23 Nov 2026", "SHA-256=", "*/*")
	w := &world{t: f, record: &record{}}
	handler := w.endpoint(func(o *options) { o.repeats = 1 << 30 })
	sum := m.mac(runnerKey, five)
	f.Fuzz(func(t *testing.T, signature, authorization, date, digest, accept string) {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(genuineBody))
		r.Header = http.Header{"Accept-Encoding": {"identity"}, "Content-Type": {"application/json"}}
		for name, value := range map[string]string{
			"Signature": signature, "Authorization": authorization, "Date": date, "Digest": digest, "Accept": accept,
		} {
			if value != "" {
				r.Header[name] = []string{value}
			}
		}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, r)
		w.record.take()
		w.asked = nil
		ours := date == m.get("Date") && digest == m.get("Digest") && accept == m.get("Accept") &&
			strings.Contains(signature+authorization, sum)
		if answer.Code == http.StatusOK && !ours {
			t.Fatalf("answered 200 without a signature of ours: %q", r.Header)
		}
		if answer.Code != http.StatusOK && answer.Code != http.StatusUnauthorized {
			t.Fatalf("answered %d: %q", answer.Code, r.Header)
		}
	})
}
