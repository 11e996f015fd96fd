package notify

import (
	"context"
	"fmt"
	"time"
)

// Rate is at most so many calls in any time Per. What is over it waits, in order, and nothing is lost. After a restart it begins anew.
type Rate struct {
	// Calls are 1 to 1000.
	Calls int
	// Per is a millisecond or more.
	Per time.Duration
}

const maxCalls = 1000

func (r Rate) validate() error {
	if r != (Rate{}) && (r.Calls < 1 || r.Calls > maxCalls || r.Per < time.Millisecond) {
		return fmt.Errorf("the Rate of %d calls per %s is none: give 1 to %d calls and a millisecond or more, or leave it out", r.Calls, r.Per, maxCalls)
	}
	return nil
}

// turns are the last calls, as many as there may be in the time of a Rate. Nil: calls do not wait.
type turns struct {
	per   time.Duration
	one   chan struct{} // holds the one that waits: the rest is its
	calls []call
	next  int // the oldest
}

// call is one that counts until over is closed.
type call struct {
	over   <-chan struct{}
	cancel context.CancelFunc
}

func (r Rate) turns() *turns {
	if r == (Rate{}) {
		return nil
	}
	return &turns{per: r.Per, one: make(chan struct{}, 1), calls: make([]call, r.Calls)}
}

// wait returns when there may be a call, or with the error of the context.
func (t *turns) wait(ctx context.Context) error {
	if t == nil {
		return nil
	}
	select {
	case t.one <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-t.one }()
	oldest := &t.calls[t.next]
	if oldest.over != nil {
		select {
		case <-oldest.over:
		case <-ctx.Done():
			return ctx.Err()
		}
		oldest.cancel()
	}
	turn, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.per)
	*oldest = call{turn.Done(), cancel}
	t.next = (t.next + 1) % len(t.calls)
	return nil
}
