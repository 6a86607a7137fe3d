package secret

// ProxyError says that the proxy on the way to a source is at fault, and not the source: nobody there has seen the question.
// Whoever makes the connections makes it, since only he knows of the proxy; every source tells it as it stands.
type ProxyError struct {
	Reason Reason // network or timeout
	Cause  string // the proxy PLACE (VARIABLE) …, without its login
	Remedy string
}

// Error returns the operator's text.
func (e *ProxyError) Error() string { return e.Cause + ": " + e.Remedy }
