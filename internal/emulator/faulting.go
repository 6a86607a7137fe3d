package emulator

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// answerFaulty lets the faults that are due act: first one that answers instead of the site, else one that spoils what
// the site answers.
//
// The site's answer is held back until it is known to be a 200: only then is a fault of the second sort used up.
func (e *Emulator) answerFaulty(w *response, r *http.Request, host string, site http.Handler) {
	if fault := e.faults.take(host, r.URL.Path, Kind.instead); fault != nil && !e.instead(w, r, fault, site) {
		return
	}
	w.held = new(bytes.Buffer)
	site.ServeHTTP(w, r)
	var fault *active
	if w.status == http.StatusOK {
		fault = e.faults.take(host, r.URL.Path, Kind.spoils)
	}
	body := w.held.Bytes()
	w.held = nil
	if fault != nil {
		spoil(r.Context(), w, fault, body)
		return
	}
	w.ResponseWriter.WriteHeader(w.status)
	_, _ = w.Write(body)
}

// instead answers in the site's place; true means that the site is to answer after all.
// A panic with http.ErrAbortHandler is net/http's way to drop the connection without an answer or a line in the log.
func (e *Emulator) instead(w *response, r *http.Request, fault *active, site http.Handler) bool {
	switch fault.Kind {
	case Hang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case Hold:
		return waitFor(r.Context(), fault.removed)
	case Delay:
		timer := time.NewTimer(fault.Wait)
		defer timer.Stop()
		return waitFor(r.Context(), timer.C)
	case Reset:
		connectionOf(r.Context()).reset()
		panic(http.ErrAbortHandler)
	case Redirect:
		w.Header().Set("Location", fault.Location)
		w.WriteHeader(http.StatusTemporaryRedirect)
	case ForeignChallenge:
		w.Header().Set("WWW-Authenticate",
			`Bearer authorization="https://login.microsoftonline.com/`+derivedID("elsewhere")+`", resource="https://elsewhere.example"`)
		writeVaultError(w, unauthorized("AKV10000: Request is missing a Bearer or PoP token."))
	case OddChallenge:
		w.Header().Set("WWW-Authenticate", `Bearer authorization="login.microsoftonline.com", resource="https://vault.azure.net"`)
		writeVaultError(w, unauthorized("AKV10000: Request is missing a Bearer or PoP token."))
	default:
		e.answerWith(w, r, fault, site)
	}
	return false
}

// waitFor is true when the signal came, and gives up the connection when the client or the emulator went first.
func waitFor[T any](ctx context.Context, signal <-chan T) bool {
	select {
	case <-signal:
		return true
	case <-ctx.Done():
		panic(http.ErrAbortHandler)
	}
}

// answerWith writes the answer that the fault prescribes.
func (e *Emulator) answerWith(w *response, r *http.Request, fault *active, site http.Handler) {
	for name, values := range fault.Header {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	if fault.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((fault.RetryAfter+time.Second-1)/time.Second)))
	}
	status := fault.Status
	if status == 0 && fault.AADSTS == 0 {
		status = http.StatusInternalServerError
	}
	if fault.Body != "" {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(fault.Body))
		return
	}
	if own, ok := site.(interface {
		answerStatus(*response, *http.Request, int)
	}); ok {
		own.answerStatus(w, r, status)
		return
	}
	refused := refuse(90033)
	if fault.AADSTS != 0 {
		refused = refuse(fault.AADSTS)
	}
	if status != 0 {
		refused.status = status
	}
	e.answerRefusal(w, r, refused)
}

// answerStatus is what Key Vault says with each status.
func (v *Vault) answerStatus(w *response, r *http.Request, status int) {
	about, _ := target(r)
	switch status {
	case http.StatusUnauthorized:
		failed := unauthorized("AKV10000: Request is missing a Bearer or PoP token.")
		if w.Header().Get("WWW-Authenticate") != "" {
			writeVaultError(w, failed) // with the challenge that the fault states
			return
		}
		v.challenge(w, failed)
	case http.StatusForbidden:
		writeVaultError(w, v.forbidden(&bearer{}, about))
	case http.StatusNotFound:
		writeVaultError(w, notFound(about))
	case http.StatusTooManyRequests:
		writeVaultError(w, &vaultError{status: status, code: "Throttled",
			text: "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached"})
	default:
		writeVaultError(w, &vaultError{status: status, code: "InternalServerError", text: "The service cannot answer now: " + http.StatusText(status)})
	}
}

// spoil gives out a good answer in a bad way.
func spoil(ctx context.Context, w *response, fault *active, body []byte) {
	switch fault.Kind {
	case HangBody, Drip:
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		drip(ctx, w, fault, body)
	case HTML:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte("<!DOCTYPE html><html><body><h1>Sign in to the network</h1></body></html>"))
	case BrokenJSON:
		_, _ = w.Write(body[:len(body)/2])
	case WrongTypes:
		_, _ = w.Write(replaceValue(body, 42))
	case NullValue:
		_, _ = w.Write(replaceValue(body, nil))
	case EmptyValue:
		_, _ = w.Write(replaceValue(body, ""))
	}
}

// drip sends the head at once and then a byte at a time, or none at all.
func drip(ctx context.Context, w *response, fault *active, body []byte) {
	out := http.NewResponseController(w)
	w.WriteHeader(http.StatusOK)
	_ = out.Flush()
	if fault.Kind == HangBody {
		<-ctx.Done()
		panic(http.ErrAbortHandler)
	}
	wait := fault.Wait
	if wait == 0 {
		wait = time.Second
	}
	ticker := time.NewTicker(wait)
	defer ticker.Stop()
	for i := range body {
		waitFor(ctx, ticker.C)
		if _, err := w.Write(body[i : i+1]); err != nil || out.Flush() != nil {
			panic(http.ErrAbortHandler)
		}
	}
}

// replaceValue puts something else where the secret's value, the signature, the key's modulus or the token was.
// What is no JSON object is left as it is.
func replaceValue(body []byte, value any) []byte {
	var document map[string]any
	if json.Unmarshal(body, &document) != nil {
		return body
	}
	for _, name := range []string{"value", "access_token", "refresh_token"} {
		if _, found := document[name]; found {
			document[name] = value
		}
	}
	if key, ok := document["key"].(map[string]any); ok {
		key["n"] = value
	}
	changed, err := json.Marshal(document)
	if err != nil {
		return body
	}
	return changed
}
