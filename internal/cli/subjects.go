package cli

import (
	"errors"
	"strings"

	"github.com/drone-entra/drone-entra/internal/app"
)

// subjectsCommand answers from the configuration alone, so it runs on a laptop whose user may write to Entra, which the
// extension must not.
type subjectsCommand struct {
	issuerConfig
	Repo     string   `help:"Slug of one repository, as acme/app; without --uid, the ids that bindings pin." placeholder:"SLUG"`
	UID      string   `name:"uid" help:"The forge's id of one repository." placeholder:"ID"`
	DeployTo []string `sep:"none" help:"Deploy targets, instead of those that the bindings name." placeholder:"TARGET"`
	JSON     bool     `name:"json" help:"For programs."`
}

// Run prints what has to be entered where. Nothing to enter is an answer, too: exit code 0.
func (c subjectsCommand) Run(out *printer) error {
	if strings.Contains(c.Repo, "*") {
		return usageError("--repo " + printable(c.Repo) + " is a pattern: name one repository")
	}
	loaded, err := c.load(out)
	if err != nil {
		return err
	}
	found, err := app.FindSubjects(loaded, app.SubjectsOf{Slug: c.Repo, UID: c.UID, DeployTo: c.DeployTo})
	switch {
	case errors.Is(err, app.ErrNoIssuer), err != nil && c.Repo+c.UID != "":
		return usageError(err.Error())
	case err != nil:
		return err
	case c.JSON:
		return out.encode(found)
	}
	out.subjects(&found)
	return nil
}

// subjects prints applications, then tokens, then what Entra is like.
func (p *printer) subjects(s *app.Subjects) {
	if len(s.Applications)+len(s.Tokens) == 0 {
		p.printf("Nothing is signed by %s: no identity has assertion: {issuer: …}, and no token an audience.\n", s.Issuer)
		return
	}
	credentials := false
	for i := range s.Applications {
		p.application(&s.Applications[i])
		credentials = credentials || len(s.Applications[i].Trusts) > 0
	}
	for _, t := range s.Tokens {
		p.printf("%s, for whoever is its audience:\n\n", p.paint(bold, "token "+t.Token))
		p.trusts(t.Trusts)
		p.notes(t.Notes)
	}
	p.printf("Issuer, subject and audience are compared exactly, case and a slash at the end included; there are no patterns.\n")
	if credentials {
		p.printf("Entra takes %d federated credentials for an application. A new one works after seconds to minutes, with AADSTS70021 until then.\n", app.MaxCredentials)
	}
}

// application prints what one application has to trust, and how to make it do so.
func (p *printer) application(a *app.Application) {
	client, tenant := a.ClientID, a.TenantID
	if client == "" {
		client = "of AZURE_CLIENT_ID"
	}
	if tenant == "" {
		tenant = "of AZURE_TENANT_ID"
	}
	if len(a.Trusts) == 0 {
		p.printf("%s: no credential to make\n\n", p.paint(bold, "identity "+a.Identity))
		p.notes(a.Notes)
		return
	}
	p.printf("%s, client %s, tenant %s:\n\n", p.paint(bold, "identity "+a.Identity), client, tenant)
	p.trusts(a.Trusts)
	p.notes(a.Notes)
	p.printf("  If the client is a user-assigned managed identity:\n\n")
	for _, command := range a.Prepare {
		p.printf("    %s\n", command)
	}
	for _, t := range a.Trusts {
		p.printf("    %s\n", t.Managed)
	}
	p.printf("\n  If it is an application:\n\n")
	for _, t := range a.Trusts {
		p.printf("    %s\n", t.App)
	}
	p.printf("\n  In Bicep, for a managed identity:\n\n")
	for line := range strings.Lines(a.Bicep) {
		if line != "\n" {
			p.printf("    ")
		}
		p.printf("%s", line)
	}
	p.printf("\n")
}

// trusts prints the three values of each, one below the other, to be copied.
func (p *printer) trusts(list []app.Trust) {
	for _, t := range list {
		who := "uid " + printable(t.UID)
		if len(t.Slugs) > 0 {
			who = printable(strings.Join(t.Slugs, ", ")) + " (" + who + ")"
		}
		if t.DeployTo != "" {
			who += " to " + printable(t.DeployTo)
		}
		p.printf("  %s\n    issuer    %s\n    subject   %s\n    audience  %s\n\n", who, t.Issuer, t.Subject, printable(t.Audience))
	}
}

// notes prints what is not in a list.
func (p *printer) notes(list []string) {
	for _, note := range list {
		p.printf("  %s\n", p.paint(warn, printable(note)))
	}
	if len(list) > 0 {
		p.printf("\n")
	}
}
