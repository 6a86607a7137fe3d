package issuer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// Where the documents are, below the URL and below the directory that is published. The second place is ours to choose, and
// is the one that Kubernetes has.
const (
	discoveryPath = ".well-known/openid-configuration"
	keySetPath    = "openid/v1/jwks"
)

// KeySetURL is where the document says that the keys are: <url without a slash at its end>/openid/v1/jwks.
func (i *Issuer) KeySetURL() string { return strings.TrimSuffix(i.url, "/") + "/" + keySetPath }

// DiscoveryURL is where relying parties look first (OpenID Connect Discovery 1.0 §4): the issuer without a slash at its end,
// and then /.well-known/openid-configuration.
func (i *Issuer) DiscoveryURL() string { return strings.TrimSuffix(i.url, "/") + "/" + discoveryPath }

// Discovery is the OpenID Connect discovery document, always the same bytes. It has what Kubernetes' own has: relying
// parties verify tokens with it and send nobody here, so it names no other endpoint.
func (i *Issuer) Discovery() []byte {
	b, _ := indented(struct { // strings and lists of them always marshal
		Issuer    string   `json:"issuer"`
		Keys      string   `json:"jwks_uri"`
		Responses []string `json:"response_types_supported"`
		Subjects  []string `json:"subject_types_supported"`
		Algorithm []string `json:"id_token_signing_alg_values_supported"`
	}{i.url, i.KeySetURL(), []string{"id_token"}, []string{"public"}, []string{string(jose.RS256)}})
	return b
}

// KeySet is the JSON Web Key Set (RFC 7517 §5) of all listed keys in their order, those that sign later or no more
// included; a key that is listed twice stands there once. The same keys give the same bytes. Errors are the Signers'.
func (i *Issuer) KeySet(ctx context.Context) ([]byte, error) {
	set, err := i.keySet(ctx)
	if err != nil {
		return nil, err
	}
	b, err := indented(set)
	if err != nil {
		return nil, fmt.Errorf("the key set can't be written: %w", err)
	}
	return b, nil
}

func (i *Issuer) keySet(ctx context.Context) (set jose.JSONWebKeySet, err error) {
	for j := range i.keys {
		key, err := i.keys[j].public(ctx)
		if err != nil {
			return set, err
		}
		if len(set.Key(key.KeyID)) == 0 {
			set.Keys = append(set.Keys, key)
		}
	}
	return set, nil
}

// Listed is the configuration's keys as Plan wants them. Errors are the Signers'.
func (i *Issuer) Listed(ctx context.Context) (list []Listed, err error) {
	for j := range i.keys {
		key, err := i.keys[j].public(ctx)
		if err != nil {
			return nil, err
		}
		list = append(list, Listed{Name: i.keys[j].Name, KID: key.KeyID, From: i.keys[j].From})
	}
	return list, nil
}

// ParseKeySet reads the ids of the keys in a key set that was published, each once and in their order. A key without an id
// can't be asked for, and is left out. The error says nothing of the content.
func ParseKeySet(b []byte) (ids []string, err error) {
	var set struct {
		Keys []struct {
			ID string `json:"kid"`
		} `json:"keys"`
	}
	if json.Unmarshal(b, &set) != nil || set.Keys == nil {
		return nil, errNoKeySet
	}
	for _, key := range set.Keys {
		if key.ID != "" && !slices.Contains(ids, key.ID) {
			ids = append(ids, key.ID)
		}
	}
	return ids, nil
}

// indented is JSON that a person can read, with a line's end at its end.
func indented(v any) ([]byte, error) {
	b, err := encode(v)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = json.Indent(&out, append(b, '\n'), "", "  ")
	return out.Bytes(), err
}
