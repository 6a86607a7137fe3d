package cli

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// browser is a Chromium that a test drives through chromedriver, with the requests of the W3C's WebDriver protocol.
type browser struct {
	t       *testing.T
	session string // its URL
	client  *http.Client
	dir     string // of the pages
}

// The surroundings that a page is opened in.
type surroundings struct {
	width, height int
	dark          bool
	withoutScript bool
}

var driverReady = regexp.MustCompile(`started successfully on port (\d+)`)

// newBrowser starts Chromium, which ends with the test, or skips the test where there is none.
func newBrowser(t *testing.T, s surroundings) *browser {
	t.Helper()
	driver, err := exec.LookPath("chromedriver")
	if err != nil {
		t.Skip("chromedriver is not installed: the page is tested without a browser only")
	}
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed: the page is tested without a browser only")
	}
	// Chromium may still write there when the test ends: what can't be removed then is no failure.
	dir, err := os.MkdirTemp("", "page")
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, client: &http.Client{Transport: &http.Transport{}}, dir: dir}
	b.session = startDriver(t, driver) + "/session"
	scheme := 1
	if s.dark {
		scheme = 0
	}
	args := []string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--user-data-dir=" + filepath.Join(dir, "profile"),
		fmt.Sprintf("--blink-settings=preferredColorScheme=%d", scheme),
	}
	options := map[string]any{"binary": chromium, "args": args}
	if s.withoutScript {
		options["prefs"] = map[string]any{"profile.managed_default_content_settings.javascript": 2}
	}
	var begun struct{ SessionID string }
	b.post("", map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{
		"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": map[string]string{"browser": "ALL"},
	}}}, &begun)
	b.session += "/" + begun.SessionID
	// A window has a least width; the page in it has none.
	b.post("/goog/cdp/execute", map[string]any{"cmd": "Emulation.setDeviceMetricsOverride", "params": map[string]any{
		"width": s.width, "height": s.height, "deviceScaleFactor": 1, "mobile": false,
	}}, nil)
	t.Cleanup(func() {
		b.do(http.MethodDelete, "", nil, nil)
		b.client.CloseIdleConnections()
		os.RemoveAll(dir)
	})
	return b
}

// startDriver starts chromedriver on a port that it chooses, and returns its URL. It chooses one that is free for IPv4, and ends
// where somebody has the same for IPv6: then it may choose again.
func startDriver(t *testing.T, path string) string {
	t.Helper()
	for range 5 {
		if url := tryDriver(t, path); url != "" {
			return url
		}
	}
	t.Fatal("chromedriver ended before it listened")
	return ""
}

func tryDriver(t *testing.T, path string) (url string) {
	t.Helper()
	c := exec.Command(path, "--port=0")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if port := driverReady.FindStringSubmatch(lines.Text()); port != nil {
			go io.Copy(io.Discard, out)
			return "http://127.0.0.1:" + port[1]
		}
	}
	return ""
}

// do sends one command and decodes the value of its answer.
func (b *browser) do(method, path string, body, value any) {
	b.t.Helper()
	var sent io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			b.t.Fatal(err)
		}
		sent = bytes.NewReader(encoded)
	}
	r, err := http.NewRequest(method, b.session+path, sent)
	if err != nil {
		b.t.Fatal(err)
	}
	answer, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		b.t.Fatalf("%s %s: %s %s %v", method, path, answer.Status, text, err)
	}
	if value == nil {
		return
	}
	if err := json.Unmarshal(text, &struct{ Value any }{value}); err != nil {
		b.t.Fatalf("%s %s: %s: %v", method, path, text, err)
	}
}

func (b *browser) post(path string, body, value any) {
	b.t.Helper()
	b.do(http.MethodPost, path, body, value)
}

// open writes the page to a file and opens that.
func (b *browser) open(page, fragment string) {
	b.t.Helper()
	file := filepath.Join(b.dir, "page.html")
	if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
		b.t.Fatal(err)
	}
	b.post("/url", map[string]string{"url": "about:blank"}, nil)
	b.post("/url", map[string]string{"url": "file://" + file + fragment}, nil)
}

// element finds one by a CSS selector and returns the path of its commands.
func (b *browser) element(selector string) string {
	b.t.Helper()
	var found map[string]string
	b.post("/element", map[string]string{"using": "css selector", "value": selector}, &found)
	for _, id := range found {
		return "/element/" + id
	}
	b.t.Fatalf("no element %s", selector)
	return ""
}

func (b *browser) click(selector string) {
	b.t.Helper()
	b.post(b.element(selector)+"/click", map[string]any{}, nil)
}

func (b *browser) press(selector, keys string) {
	b.t.Helper()
	b.post(b.element(selector)+"/value", map[string]string{"text": keys}, nil)
}

// search replaces what is searched for, as somebody does who types.
func (b *browser) search(text string) {
	b.t.Helper()
	b.press("#search", "\ue009a\ue000\ue003"+text) // control and a, released again; then backspace
	b.frame()
}

// frame waits until what was typed is on the screen.
func (b *browser) frame() {
	b.t.Helper()
	b.post("/execute/async", map[string]any{"script": "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))", "args": []any{}}, nil)
}

// texts returns what is visible of each element that the selector finds and that is visible at all, blanks folded.
func (b *browser) texts(selector string) (list []string) {
	b.t.Helper()
	b.post("/execute/sync", map[string]any{
		"script": `return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility({visibilityProperty: true}))
			.map(e => e.innerText.replace(/\s+/g, " ").trim())`,
		"args": []any{selector},
	}, &list)
	return list
}

// ask returns the value of an expression in the page.
func (b *browser) ask(expression string) (value any) {
	b.t.Helper()
	b.post("/execute/sync", map[string]any{"script": "return " + expression, "args": []any{}}, &value)
	return value
}

// complaints are what the page's console says.
func (b *browser) complaints() (list []string) {
	b.t.Helper()
	var entries []struct{ Level, Message string }
	b.post("/se/log", map[string]string{"type": "browser"}, &entries)
	for _, e := range entries {
		list = append(list, e.Level+" "+e.Message)
	}
	return list
}

// picture keeps a screenshot where DRONE_ENTRA_PICTURES names a folder, to be looked at.
func (b *browser) picture(name string) {
	b.t.Helper()
	folder := os.Getenv("DRONE_ENTRA_PICTURES")
	if folder == "" {
		return
	}
	var encoded string
	b.do(http.MethodGet, "/screenshot", nil, &encoded)
	png, err := base64.StdEncoding.DecodeString(encoded)
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, name+".png"), png, 0o600)
	}
	if err != nil {
		b.t.Error(err)
	}
}

func (b *browser) want(what string, got []string, want ...string) {
	b.t.Helper()
	if !slices.Equal(got, want) {
		b.t.Errorf("%s:\n  %s\nwant\n  %s", what, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}
