package keyvault

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"

	"github.com/drone-entra/drone-entra/secret"
)

// maxPages bounds a list. A page has 25 versions, so that 500 are read; a key that is rotated daily has them after a year.
const maxPages = 20

// KeyVersion is what Key Vault tells of one version of a key.
type KeyVersion struct {
	Version string
	Created time.Time // in whole seconds

	// NotBefore and Expires bound the time in which Key Vault signs with it; zero where it states no bound.
	NotBefore, Expires time.Time
	Enabled            bool
}

// KeyVersions lists the versions of a key, the oldest first. The error is an *secret.Error; it comes within ctx. Nothing is
// returned of a list that has more than 500 versions or so.
func (v *Vault) KeyVersions(ctx context.Context, name string) ([]KeyVersion, error) {
	t := keyAt(v, name, "")
	all, failure := within(ctx, v, t, func(c *azkeys.Client) ([]KeyVersion, *secret.Error) {
		if !keyName(name) {
			return nil, v.failOf(t, secret.Internal, secret.ReasonInternal, "Key Vault has no key of such a name")
		}
		return v.listVersions(ctx, c, t, name)
	})
	if failure != nil {
		return nil, failure
	}
	return all, nil
}

// listVersions reads page after page. The SDK would take a token along to wherever a page says that the next one is, so
// that must be the same list of the same vault.
func (v *Vault) listVersions(ctx context.Context, c *azkeys.Client, t thing, name string) ([]KeyVersion, *secret.Error) {
	var all []KeyVersion
	pager := c.NewListKeyPropertiesVersionsPager(name, nil)
	for range maxPages {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return nil, v.refused(ctx, c, t, err)
		}
		for _, item := range page.Value {
			version, ok := v.acceptVersion(name, item)
			if !ok {
				return nil, v.failOf(t, secret.Garbled, secret.ReasonGarbled, "its list has what is no version of this key, or does not say when it was made and whether it is enabled")
			}
			all = append(all, version)
		}
		if !pager.More() {
			// Key Vault promises no order, and two may have been made in one second.
			slices.SortFunc(all, func(a, b KeyVersion) int {
				return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Version, b.Version))
			})
			return all, nil
		}
		if !v.leadsOn(*page.NextLink, name) {
			return nil, v.failOf(t, secret.Garbled, secret.ReasonGarbled, "its list goes on elsewhere, where no token goes: is there a proxy in between?")
		}
	}
	return nil, v.failOf(t, secret.Garbled, secret.ReasonGarbled, fmt.Sprintf("its list has no end after %d pages", maxPages))
}

// acceptVersion takes an entry of the list if it is whole and about the key.
func (v *Vault) acceptVersion(name string, item *azkeys.KeyProperties) (KeyVersion, bool) {
	if item == nil || item.KID == nil || item.Attributes == nil || item.Attributes.Enabled == nil || item.Attributes.Created == nil {
		return KeyVersion{}, false
	}
	version, ok := v.versionOf(string(*item.KID), "keys", name, "")
	a := item.Attributes
	return KeyVersion{
		Version: version, Created: *a.Created, NotBefore: timeOf(a.NotBefore), Expires: timeOf(a.Expires), Enabled: *a.Enabled,
	}, ok
}

// leadsOn tells whether a link is to another page of the key's versions.
// For example https://kv.vault.azure.net/keys/issuer/versions?$skiptoken=… of kv's "issuer".
func (v *Vault) leadsOn(link, name string) bool {
	u, err := url.Parse(link)
	return err == nil && u.Scheme == "https" && u.User == nil && strings.EqualFold(strings.TrimSuffix(u.Host, ":443"), v.host) &&
		strings.EqualFold(strings.TrimSuffix(u.Path, "/"), "/keys/"+name+"/versions")
}

// keyName tells whether Key Vault could have a key of that name: 1 to 127 ASCII letters, digits and hyphens.
func keyName(s string) bool {
	return s != "" && len(s) <= 127 &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == ""
}
