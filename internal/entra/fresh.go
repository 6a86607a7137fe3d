package entra

import (
	"context"
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/drone-entra/drone-entra/secret"
)

// Fresh gets a token that nobody else has, and keeps none: a remembered one may be about to end, and Entra has no way to make
// a token's life shorter or to take it back. Of a managed identity it is the one that the machine itself keeps, which lasts for
// up to 24 hours. It returns when ctx ends; the error is an *secret.Error.
//
// At most 16 are under way for an identity; who comes later waits for his turn.
func (i *Identity) Fresh(ctx context.Context, r secret.Request, scope string) (azcore.AccessToken, error) {
	subject := i.Subject(r)
	if subjects := i.options.Subjects; subjects != nil && subject == "" {
		return azcore.AccessToken{}, noSubject(i, subjects, r)
	}
	if i.fresh.Acquire(ctx, 1) != nil {
		return azcore.AccessToken{}, i.crowded()
	}
	type outcome struct {
		token azcore.AccessToken
		err   *secret.Error
	}
	done := make(chan outcome, 1)
	go func() {
		defer i.fresh.Release(1)
		token, err := i.exchange(subject, policy.TokenRequestOptions{Scopes: []string{scope}}, r)
		done <- outcome{token, err}
	}()
	select {
	case o := <-done:
		if o.err != nil {
			i.noteFresh(o.err)
			return azcore.AccessToken{}, o.err
		}
		i.noteFresh(nil)
		return o.token, nil
	case <-ctx.Done():
		return azcore.AccessToken{}, secret.Fail(secret.Late, secret.ReasonTimeout, fmt.Sprintf("%s: no token within the request's time", i))
	}
}
