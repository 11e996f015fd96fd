package stream

import (
	"context"
	"errors"
	"fmt"
)

// almostThere is how far behind a follower may be to count as caught up, in
// messages: while entries keep coming it is never quite there.
const almostThere = 16

// Follower takes what Journal.Follow reads.
type Follower struct {
	// Entry is called with every entry, in order. An error ends Follow. Required.
	Entry func(Entry) error
	// CaughtUp is called when Entry has had nearly all that there was, with how many
	// entries that was, and again with those that come until it returns true. nil:
	// nobody is told.
	CaughtUp func(entries int) bool
	// Current is called when Entry has had all that the server had, and again whenever the server says that there is still nothing more: every
	// two seconds, about. nil: nobody is told.
	Current func()
}

// Follow reads a journal that belongs to somebody else: every entry that begins at a
// position or later, 0 being the beginning, and those that come, until ctx ends, which is no error. Its reader keeps a copy of the owner's
// state, and becomes the owner by a Replay of the little that is missing. The error
// matches ErrTrimmed when the owner has trimmed what was to come next.
func (j *Journal) Follow(ctx context.Context, from uint64, to Follower) error {
	j.replayed = false
	j.followed = replay{head: max(from, 1) - 1}
	r := &j.followed
	entries := 0
	caughtUp := func() {
		if to.CaughtUp != nil && to.CaughtUp(entries) {
			to.CaughtUp = nil
		}
	}
	current := to.Current
	if current == nil {
		current = func() {}
	}
	info, err := j.c.knownInfo(ctx, j.name)
	if err == nil {
		if r.head >= info.State.LastSeq || info.State.Msgs == 0 {
			current()
			caughtUp()
		}
		err = j.feed(ctx, r, current, func(e Entry, pending uint64) (bool, error) {
			entries++
			if err := to.Entry(e); err != nil {
				return false, err
			}
			if pending == 0 {
				current()
			}
			if pending < almostThere {
				caughtUp()
			}
			return true, nil
		})
	}
	if ctx.Err() != nil || err == nil {
		return nil //nolint:nilerr // asked to stop
	}
	var own *JournalError
	if errors.As(err, &own) {
		return err
	}
	return &JournalError{Journal: j.name, Err: fmt.Errorf("follow it: %w", err)}
}
