package entra

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode"
)

// Federate is the commands of the Azure CLI that make the federated credential which the assertion wants: for a user-assigned
// managed identity, and for the application with that client ID. IDENTITY and GROUP stand for what an assertion does not say.
// There is none for an assertion that no federated credential can name.
func (c *Claims) Federate(client, cloud string) []string {
	audience := Audience(cloud)
	texts := []string{c.Issuer, c.Subject, client}
	if c.Issuer == "" || c.Subject == "" || slices.ContainsFunc(texts, func(s string) bool { return strings.ContainsFunc(s, unprintable) }) {
		return nil
	}
	parameters, err := json.Marshal(map[string]any{"name": "drone-entra", "issuer": c.Issuer, "subject": c.Subject, "audiences": []string{audience}})
	if err != nil {
		return nil
	}
	return []string{
		"az identity federated-credential create --name drone-entra --identity-name IDENTITY --resource-group GROUP --issuer " + quote(c.Issuer) +
			" --subject " + quote(c.Subject) + " --audiences " + quote(audience),
		"az ad app federated-credential create --id " + quote(client) + " --parameters " + quote(string(parameters)),
	}
}

// Unfederated tells whether a refusal with this code (as AADSTS700213) is one that a federated credential would mend.
func Unfederated(code string) bool {
	switch code {
	case "AADSTS70021", "AADSTS70025", "AADSTS700211", "AADSTS700212", "AADSTS700213", "AADSTS7002138":
		return true
	}
	return false
}

// OfScope tells whether a refusal with this code is about what the token is for, and not about who asks.
func OfScope(code string) bool {
	switch code {
	case "AADSTS500011", "AADSTS70011", "AADSTS1002012":
		return true
	}
	return false
}

// Code finds the AADSTS code in the text of one of our errors; "" if there is none.
func Code(text string) string { return code(text) }

// unprintable is what can't be pasted into a shell as one sees it.
func unprintable(r rune) bool { return r > '~' || !unicode.IsPrint(r) }

// quote makes one word of a POSIX shell.
func quote(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/@%+=,", r)
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
