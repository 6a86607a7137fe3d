package entra

import (
	"context"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/drone-entra/drone-entra/secret"
)

// NewBroken makes an Identity that stands for one that can't be opened: it asks nobody for anything, and whatever is asked of it
// fails at once with the problem, which names the identity and says what to change. So nothing but its own doors is down. Of o,
// what is known is shown; Log and Now are used.
func NewBroken(o Options, problem string) *Identity {
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Assertion, o.Subjects = nil, nil
	i := &Identity{
		options: o, broken: secret.Fail(secret.Unavailable, secret.ReasonIdentity, problem), credentials: map[string]*credential{},
		turns: semaphore.NewWeighted(maxAtOnce), fresh: semaphore.NewWeighted(maxAtOnce),
	}
	i.ctx, i.cancel = context.WithCancel(context.Background())
	return i
}

// Broken tells whether the identity is one of NewBroken.
func (i *Identity) Broken() bool { return i.broken != nil }
