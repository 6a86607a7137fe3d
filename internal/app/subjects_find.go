package app

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/internal/entra"
	"github.com/drone-entra/drone-entra/internal/issuer"
	"github.com/drone-entra/drone-entra/secret"
)

// finder looks for repositories and subjects in one configuration.
type finder struct {
	config *config.Config
	of     SubjectsOf
	issuer *issuer.Issuer
}

// applications are those of one identity: itself, or the one of each repository.
func (f *finder) applications(i config.Identity) (list []Application) {
	repos := f.reposOf(f.givesIdentity(i.Name), slices.Sorted(maps.Keys(i.Clients)))
	one := func(client string, repos reposOf) {
		a := Application{Identity: i.Name, TenantID: i.TenantID, ClientID: client}
		a.Trusts, a.Notes = f.trusts(issuer.Form(i.Issuer), entra.Audience(i.Cloud), repos)
		a.credentials()
		list = append(list, a)
	}
	if i.Clients == nil {
		one(i.ClientID, repos)
		return list
	}
	for _, r := range repos.repos {
		client := i.Clients[r.uid]
		if client == "" {
			repos.notes = append(repos.notes, fmt.Sprintf("the identity's clients do not list uid %s: whatever it asks for through this identity is denied", r.uid))
			continue
		}
		one(client, reposOf{repos: []*repoOf{r}})
	}
	if len(repos.notes) > 0 || list == nil {
		list = append(list, Application{Identity: i.Name, TenantID: i.TenantID, Trusts: []Trust{}, Notes: repos.notes})
	}
	return list
}

// reposOf are repositories that something is given to, and what kept others out of the list.
type reposOf struct {
	repos []*repoOf // in order of uid
	notes []string
}

// repoOf is one of them: its id, what bindings call it, and where it is promoted to.
type repoOf struct {
	uid            string
	slugs, targets []string
	vague          []string // patterns of targets, which name none
}

// reposOf finds the repositories to which a binding gives something, and those of the list of ids.
func (f *finder) reposOf(gives func(*secret.Binding) bool, uids []string) (all reposOf) {
	byID := map[string]*repoOf{}
	add := func(uid string) *repoOf {
		if byID[uid] == nil {
			byID[uid] = &repoOf{uid: uid}
		}
		return byID[uid]
	}
	for _, uid := range uids {
		add(uid)
	}
	if f.of.UID != "" {
		add(f.of.UID)
	}
	for n := range f.config.Rules.Bindings {
		b := &f.config.Rules.Bindings[n]
		if !gives(b) {
			continue
		}
		for _, r := range b.Repos {
			switch {
			case r.UID != "":
				add(r.UID).meets(r, b)
			case f.of.UID != "" && f.of.Slug != "" && r.Slug.Match(f.of.Slug):
				add(f.of.UID).meets(secret.RepoPattern{}, b)
			case f.of.Slug == "" && f.of.UID == "":
				all.notes = append(all.notes, fmt.Sprintf("binding %s names %s without a uid: ask with --uid for a repository that it means", b.ID, r.Slug))
			}
		}
	}
	wanted := f.pinned()
	for _, uid := range slices.Sorted(maps.Keys(byID)) {
		r := byID[uid]
		switch {
		case f.of.UID != "" && uid != f.of.UID, f.of.UID == "" && f.of.Slug != "" && !slices.Contains(wanted, uid):
			continue
		case f.of.UID != "" && f.of.Slug != "":
			r.slugs = []string{f.of.Slug}
		}
		all.repos = append(all.repos, r)
	}
	return all
}

// meets notes what a binding says of the repository.
func (r *repoOf) meets(as secret.RepoPattern, b *secret.Binding) {
	if slug := as.Slug.String(); slug != "" && !slices.Contains(r.slugs, slug) {
		r.slugs = append(r.slugs, slug)
	}
	for _, c := range b.When {
		for _, p := range c.DeployTo {
			list := &r.targets
			if !p.Literal() {
				list = &r.vague
			}
			if !slices.Contains(*list, p.String()) {
				*list = append(*list, p.String())
			}
		}
	}
}

// pinned are the ids that bindings pin of the repository that is asked about.
func (f *finder) pinned() (uids []string) {
	for _, b := range f.config.Rules.Bindings {
		for _, r := range b.Repos {
			if r.UID != "" && r.Slug.Literal() && r.Slug.Match(f.of.Slug) && !slices.Contains(uids, r.UID) {
				uids = append(uids, r.UID)
			}
		}
	}
	return uids
}

// trusts are the subjects of that form for the repositories.
func (f *finder) trusts(form issuer.Form, audience string, of reposOf) (list []Trust, notes []string) {
	list, notes = []Trust{}, slices.Clone(of.notes)
	for _, r := range of.repos {
		targets := []string{""}
		if form == issuer.Environment {
			targets = r.targets
			if len(f.of.DeployTo) > 0 {
				targets = f.of.DeployTo
			} else if len(r.vague) > 0 || len(targets) == 0 {
				notes = append(notes, vagueTargets(r))
			}
		}
		for _, target := range targets {
			subject, err := f.issuer.Subject(form, secret.Request{
				Repo: secret.Repo{UID: r.uid, Slug: "uid " + r.uid}, Build: secret.Build{Event: string(secret.Promote), DeployTo: target},
			})
			if err != nil {
				notes = append(notes, secret.AsError(err).Detail)
				continue
			}
			list = append(list, Trust{UID: r.uid, Slugs: r.slugs, DeployTo: target, Issuer: f.config.Issuer.URL, Subject: subject, Audience: audience})
		}
	}
	return list, notes
}

func vagueTargets(r *repoOf) string {
	if len(r.vague) == 0 {
		return fmt.Sprintf("no binding names a deploy target for uid %s, and the subject names one: ask with --deploy-to", r.uid)
	}
	return fmt.Sprintf("for uid %s a binding has the deploy targets %s: ask with --deploy-to for those that it means; Entra knows no patterns", r.uid, strings.Join(r.vague, ", "))
}

// givesIdentity tells of a binding whether something in it is had through the identity.
func (f *finder) givesIdentity(name string) func(*secret.Binding) bool {
	return func(b *secret.Binding) bool {
		for alias, v := range f.config.Vaults {
			if v.Identity == name && (slices.ContainsFunc(b.Read, func(p secret.ReadPattern) bool { return p.Vault() == alias }) ||
				slices.ContainsFunc(slices.Collect(maps.Values(b.Names)), func(r secret.Ref) bool { return r.Vault == alias })) {
				return true
			}
		}
		for _, t := range f.config.Tokens {
			if t.Identity == name && f.givesToken(t)(b) {
				return true
			}
		}
		return false
	}
}

// givesToken tells of a binding whether it gives the token, or what belongs to it.
func (f *finder) givesToken(t config.Token) func(*secret.Binding) bool {
	return func(b *secret.Binding) bool {
		for _, r := range b.Names {
			if r.Vault == secret.TokenDoor && r.Name == t.Name {
				return true
			}
		}
		return slices.ContainsFunc(b.Read, func(p secret.ReadPattern) bool {
			return slices.ContainsFunc([]string{"", "expires", "username", "registry"}, func(key string) bool {
				return p.Gives(secret.Ref{Vault: secret.TokenDoor, Name: t.Name, Key: key})
			})
		})
	}
}
