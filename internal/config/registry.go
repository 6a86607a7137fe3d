package config

import (
	"fmt"
	"slices"
	"strings"
)

// registries maps where an Azure container registry can be to the cloud whose identities open it. A registry's host comes
// from here and from nowhere else, so that no token ever goes to another host.
func registries() map[string]string {
	return map[string]string{
		"azurecr.io": CloudPublic,
		"azurecr.cn": CloudChina,
		"azurecr.us": CloudUSGovernment,
	}
}

// registryActions are what a token can be limited to, as Azure's registry names it in a scope.
func registryActions() []string {
	return []string{"delete", "metadata_read", "metadata_write", "pull", "push"}
}

const maxRepository = 255 // bytes; the Docker registry's limit of a name

// registry returns the host of a token's registry in lower case, or "" after reporting why there is none. cloud is the
// identity's, or "" where it is not known.
//
//	Acme.azurecr.io                  acme.azurecr.io
//	https://acme.azurecr.io          refused: a host alone
//	acme.eastus.data.azurecr.io      refused: not one label
func (b *builder) registry(d *token, cloud string) string {
	if !d.repositories.set && d.ok {
		b.errorf(d.place, `a token of a registry needs "repositories", as in repositories: {team/app: [pull]}`)
	}
	t := d.registry
	if !t.ok {
		return ""
	}
	host := fold(t.value)
	label, suffix, _ := strings.Cut(host, ".")
	of := registries()[suffix]
	switch {
	case of == "" || !isVaultName(label):
		b.errorf(t.place, "%q is no registry: it is one name under %s, without https:// and without a repository%s",
			clip(t.value), oneOf(sortedKeys(registries())), likelyRegistry(host))
		return ""
	case cloud != "" && cloud != of && d.identity.ok:
		b.errorf(t.place, "identity %q is of the cloud %s and the registry %s of %s: name an identity with cloud: %s",
			clip(d.identity.value), cloud, clip(host), of, of)
	}
	return host
}

// likelyRegistry suggests the host that s, in lower case, is probably a misspelling of. It returns ": did you mean …?" or
// "".
func likelyRegistry(s string) string {
	if _, rest, ok := strings.Cut(s, "://"); ok {
		s = rest
	}
	s, _, _ = strings.Cut(s, "/")
	label, suffix, _ := strings.Cut(s, ".")
	if suffix == "azurecr.com" { // which is as near to each of them
		suffix = "azurecr.io"
	}
	if best := nearest(suffix, sortedKeys(registries())); best != "" && isVaultName(label) {
		return fmt.Sprintf(": did you mean %q?", label+"."+best)
	}
	return ""
}

// repositories compiles what a token may do with which repository, sorted by name; or tells that it may do whatever the
// identity may, which is worth a warning.
func (b *builder) repositories(d *token) (all []Repository, whole bool) {
	if d.repositories.any {
		b.warnf(d.repositories.place, ruleRegistryAny, "repositories: any hands a build the whole rights of identity %q in the registry for 3 hours: name the repositories and their actions, as in {team/app: [pull]}",
			clip(d.identity.value))
		return nil, true
	}
	for i := range d.repositories.entries {
		e := &d.repositories.entries[i]
		if e.name.ok && !isRepository(e.name.value) {
			b.errorf(e.name.place, "%q is no repository's name: it is exact, in lower case, as in team/app; letters and digits, with single dots, dashes or underscores between",
				clip(e.name.value))
		}
		all = append(all, Repository{e.name.value, b.actions(&e.value)})
	}
	slices.SortFunc(all, func(x, y Repository) int { return strings.Compare(x.Name, y.Name) })
	return all, false
}

// actions compiles what may be done with one repository, sorted.
func (b *builder) actions(l *texts) (actions []string) {
	for _, t := range l.items {
		switch {
		case !t.ok:
		case !slices.Contains(registryActions(), t.value):
			b.errorf(t.place, "unknown action %q%s", clip(t.value), didYouMean(t.value, registryActions(), ": it is "+oneOf(registryActions())))
		case slices.Contains(actions, t.value):
			b.errorf(t.place, "%q is there twice: write it once", t.value)
		default:
			actions = append(actions, t.value)
		}
	}
	slices.Sort(actions)
	return actions
}

// isRepository tells whether s is a repository's name as the OCI distribution specification has it: segments between
// slashes, each of lower-case letters and digits, with one dot, one or two underscores or any number of dashes between
// them.
func isRepository(s string) bool {
	if len(s) > maxRepository {
		return false
	}
	alphanumeric := func(c rune) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }
	for segment := range strings.SplitSeq(s, "/") {
		// What stands before, between and behind the letters and digits: "" and the separators.
		between := strings.FieldsFunc(segment, alphanumeric)
		if segment == "" || strings.Trim(segment, "._-") != segment {
			return false
		}
		for _, separator := range between {
			if separator != "." && separator != "_" && separator != "__" && strings.Trim(separator, "-") != "" {
				return false
			}
		}
	}
	return true
}
