package app

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
)

// MaxCredentials is how many federated credentials Entra takes for an application or a user-assigned identity.
const MaxCredentials = 20

// credentials writes how to make the application's federated credentials. Both kinds of it are written down, since a client id
// does not tell which one it is.
func (a *Application) credentials() {
	if len(a.Trusts) == 0 {
		return
	}
	if len(a.Trusts) > MaxCredentials {
		a.Notes = append(a.Notes, fmt.Sprintf("these are %d, and Entra takes %d federated credentials for an application: give each repository one of its own, with clients", len(a.Trusts), MaxCredentials))
	}
	id, find := `"$AZURE_CLIENT_ID"`, "$AZURE_CLIENT_ID"
	if a.ClientID != "" {
		id = strings.ToLower(a.ClientID) // as Azure writes them, and a query compares exactly
		find = id
	}
	for _, field := range []struct{ variable, name string }{{"identity", "name"}, {"group", "resourceGroup"}} {
		a.Prepare = append(a.Prepare, fmt.Sprintf(`%s=$(az identity list --query "[?clientId=='%s'].%s" -o tsv)`, field.variable, find, field.name))
	}
	for i := range a.Trusts {
		t := &a.Trusts[i]
		t.Credential = credentialName(t)
		t.Managed = fmt.Sprintf(`az identity federated-credential create --identity-name "$identity" --resource-group "$group" --name %s --issuer %s --subject %s --audiences %s`,
			t.Credential, quoted(t.Issuer), quoted(t.Subject), quoted(t.Audience))
		t.App = fmt.Sprintf(`az ad app federated-credential create --id %s --parameters %s`, id, quoted(t.parameters()))
	}
	a.Bicep = a.bicep()
}

// credentialName is a name that Entra takes (a letter or digit, and up to 119 letters, digits, dashes and underscores, which
// can't be changed later), says what it is about, and is another's only if issuer, subject and audience are. It does not
// name the slug, which may change.
//
// Names of resources compare without case in Azure, so case tells none of these apart: the digest does.
func credentialName(t *Trust) string {
	sum := sha256.Sum256([]byte(t.Issuer + "\x00" + t.Subject + "\x00" + t.Audience))
	parts := []string{"drone"}
	for _, part := range []string{t.UID, t.DeployTo} {
		if word := wordOf(part); word != "" {
			parts = append(parts, word)
		}
	}
	return strings.Join(append(parts, hex.EncodeToString(sum[:6])), "-")
}

// wordOf is of a text what fits into a name, at most 40 characters.
func wordOf(s string) string {
	words := strings.FieldsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	})
	word := strings.ToLower(strings.Join(words, "-"))
	return strings.Trim(word[:min(len(word), 40)], "-")
}

// parameters is the credential as Microsoft Graph has it.
func (t *Trust) parameters() string {
	b, err := json.Marshal(struct {
		Name      string   `json:"name"`
		Issuer    string   `json:"issuer"`
		Subject   string   `json:"subject"`
		Audiences []string `json:"audiences"`
	}{t.Credential, t.Issuer, t.Subject, []string{t.Audience}})
	if err != nil {
		return "" // strings always marshal
	}
	return string(b)
}

// bicep makes all credentials of a user-assigned identity, one after the other: Azure refuses two writes at once with 409.
func (a *Application) bicep() string {
	var b strings.Builder
	b.WriteString("param identityName string\n\n" +
		"resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' existing = {\n  name: identityName\n}\n\n" +
		"@batchSize(1)\n" +
		"resource credentials 'Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials@2023-01-31' = [for c in [\n")
	for _, t := range a.Trusts {
		fmt.Fprintf(&b, "  { name: '%s', subject: '%s' }\n", t.Credential, t.Subject)
	}
	fmt.Fprintf(&b, "]: {\n  parent: identity\n  name: c.name\n  properties: {\n    issuer: '%s'\n    subject: c.subject\n    audiences: [ '%s' ]\n  }\n}]\n",
		a.Trusts[0].Issuer, a.Trusts[0].Audience)
	return b.String()
}

// quoted is one word for a POSIX shell, whatever is in it.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
