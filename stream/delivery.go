package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Delivery is what became of one record.
type Delivery struct {
	// Partition is where it went.
	Partition int
	// Err is nil when the record counts as stored by the producer's Acks.
	// Otherwise it is a *PublishError (the server refuses it for good), a
	// *TopicNotFoundError (the topic has vanished; the record is not stored in
	// it) or an *UndeliveredError (nobody knows).
	Err error
}

// report is a Delivery with the function that wants it.
type report struct {
	to   func(Delivery)
	what Delivery
}

// tell gives the reports that are due, in order and without the lane's lock.
func (l *lane) tell() {
	l.mu.Lock()
	due := len(l.reports) > 0 || l.reporting
	l.mu.Unlock()
	if !due {
		return
	}
	l.telling.Lock()
	defer l.telling.Unlock()
	l.mu.Lock()
	reports := l.reports
	l.reports = nil
	l.reporting = len(reports) > 0
	l.mu.Unlock()
	if len(reports) == 0 {
		return
	}
	for _, r := range reports {
		r.to(r.what)
	}
	l.mu.Lock()
	l.reporting = false
	l.mu.Unlock()
}

// fail keeps an error for takeErrors. A producer that nobody flushes does not
// collect them without end.
func (l *lane) fail(err error) {
	if len(l.errs) < maxErrors {
		l.errs = append(l.errs, err)
	} else {
		l.more++
	}
}

// takeErrors gives the errors since the last call.
func (l *lane) takeErrors() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	errs := l.errs
	if l.more > 0 {
		errs = append(errs, fmt.Errorf("stream: topic %q partition %d: %d more records were not stored", l.spec.Name, l.part, l.more))
	}
	l.errs, l.more = nil, 0
	return errs
}

// vanished asks whether the topic still exists, and gives everything up if not.
func (l *lane) vanished(ctx context.Context) bool {
	at := l.retryAt
	l.mu.Unlock()
	ask, cancel := context.WithTimeout(ctx, askTimeout)
	_, err := l.c.js.Stream(ask, l.stream)
	cancel()
	l.mu.Lock()
	if !l.retryAt.Equal(at) {
		// Somebody else asked, too, and went on: this answer may be older than the topic that is there now.
		return false
	}
	l.missing = 0
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return false
	}
	l.giveUp(&TopicNotFoundError{Topic: l.spec.Name, Partition: l.part})
	return true
}

// giveUp ends everything in flight with err.
func (l *lane) giveUp(err error) {
	l.drop()
	l.fail(err)
	l.retryAt, l.delay, l.doubt = time.Time{}, 0, false
	l.advance(len(l.queue), err)
}

// seal refuses further messages; those in flight go on.
func (l *lane) seal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		l.advance(0, nil) // whoever waits for room looks again
	}
}

// close gives up what is in flight. It gives an *UndeliveredError if that is
// anything.
func (l *lane) close() error {
	defer l.tell()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.drop()
	if len(l.queue) == 0 {
		return nil
	}
	err := &UndeliveredError{Topic: l.spec.Name, Partition: l.part, Records: len(l.queue), Err: typed(l.trouble)}
	l.advance(len(l.queue), err)
	return err
}
