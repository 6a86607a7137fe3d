package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Run serves until ctx ends, and then drains:
//
//  1. /readyz answers 503 at once, and every answer ends its connection; new requests are still accepted for Grace, so that
//     a load balancer has time to look elsewhere;
//  2. the public listener takes no more connections; each one that was complete by then is served;
//  3. Run waits for the answers under way, for Drain at most; then it closes whatever is left.
//
// It returns nil when every accepted request got its answer, an error when the limit cut some off or a listener failed.
// Requests are not cancelled by ctx, only by their client, their own limits or step 3's end. When Run returns, both
// listeners are closed and its goroutines have ended. It can be called once.
func (s *Server) Run(ctx context.Context) error {
	if s.ran.Swap(true) {
		return errors.New("the server was run before and cannot be run again")
	}
	var tasks sync.WaitGroup
	defer func() {
		tasks.Wait()
		_ = s.Close() // what was let in while the listeners closed
	}()
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer s.Close() // what there was to lose is reported by drain

	public, admin := make(chan error, 1), make(chan error, 1)
	tasks.Go(func() { public <- s.servePublic(background) })
	if s.admin != nil {
		s.admin.BaseContext = func(net.Listener) context.Context { return background }
		tasks.Go(func() { admin <- s.admin.Serve(s.adminListener) })
	}
	if s.certificates != nil {
		tasks.Go(func() { s.certificates.poll(background) })
	}
	s.logListening()
	select {
	case err := <-public:
		return fmt.Errorf("listen.address %s accepts no more: %w", s.Addr(), err)
	case err := <-admin:
		return fmt.Errorf("listen.admin %s accepts no more: %w", s.AdminAddr(), err)
	case <-ctx.Done():
		return s.drain(background, public)
	}
}

// servePublic gives requests a context that ends with Run and not with the signal to drain.
func (s *Server) servePublic(ctx context.Context) error {
	s.public.BaseContext = func(net.Listener) context.Context { return ctx }
	if s.certificates != nil {
		return s.public.ServeTLS(s.listener, "", "")
	}
	return s.public.Serve(s.listener)
}

func (s *Server) logListening() {
	event := s.options.Log.Info().Stringer("address", s.Addr()).Bool("tls", s.certificates != nil)
	if s.admin != nil {
		event = event.Stringer("admin", s.AdminAddr())
	}
	event.Msg("listening")
}

// drain does Run's three steps. ctx is the background's, since the one that Run was given has ended; stopped tells that
// the accept loop has.
func (s *Server) drain(ctx context.Context, stopped <-chan error) error {
	s.draining.Store(true)
	s.options.Log.Info().Dur("grace", s.options.Grace).Dur("drain", s.options.Drain).Msg("draining")
	wait(ctx, s.options.Grace)

	limited, cancel := context.WithTimeout(ctx, s.options.Drain)
	defer cancel()
	settle(limited, s.listener.TCPListener)
	_ = s.listener.Close()
	<-stopped
	// Shutdown comes only when all is quiet: once it has begun, net/http drops a request that it reads, without an answer.
	s.connections.quiet(limited)
	if err := s.public.Shutdown(limited); err != nil {
		if _, n := s.connections.waiting(); n > 0 {
			return fmt.Errorf("drain: %d connections still had no answer after %s and were closed", n, s.options.Drain)
		}
	}
	s.options.Log.Info().Msg("drained: every request has its answer")
	return nil
}

// wait passes d, or less if ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
