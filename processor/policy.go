package processor

import (
	"errors"
	"fmt"
	"time"
)

// FailurePolicy says what becomes of a record that cannot be processed: undecodable, without a key where one is needed, or
// refused by a user function that returned an error or panicked. It is DeadLetter, Stop or Skip, or a Retry that ends in one of
// them. Builder.OnFailure sets it for the topology, Stream.OnFailure for a source or an operator, Sink.OnFailure for a sink.
//
// Whatever the policy, a call that fails leaves no trace: what it has done to stores and timers, and what it has forwarded, is
// taken back.
type FailurePolicy interface {
	policy() policy
}

// Outcome is a FailurePolicy that is applied at the first failure.
type Outcome int

const (
	// DeadLetter sends the record that was read, with its original bytes and headers and the reason, to the dead letter topic, and
	// goes on. All of the record goes: what it has done in other operators and branches of the task is taken back, so that
	// Redrive processes it once. It is the default.
	DeadLetter Outcome = iota
	// Stop ends the app with an error that names the record. After a restart it is the first record to be read again.
	Stop
	// Skip drops the record where it has failed and goes on: the operator has never seen it, what others have done with it stays.
	// The logger is told.
	Skip
)

func (o Outcome) policy() policy { return policy{then: o} }

// String gives "dead letter", "stop" or "skip".
func (o Outcome) String() string {
	switch o {
	case DeadLetter:
		return "dead letter"
	case Stop:
		return "stop"
	case Skip:
		return "skip"
	}
	return fmt.Sprintf("outcome(%d)", int(o))
}

// Retry is a FailurePolicy for what may work a moment later, such as a function that calls another system. The operator's
// function is called again with the same record, each time as if for the first time, after a pause that doubles. Meanwhile its
// task waits, so that the order within the partition is kept, and commits nothing; other tasks go on.
//
// An app that is asked to stop does not wait for the end of it: the record, and what its task has not committed yet, is
// processed again by the next Run.
type Retry struct {
	// Attempts is how often the function is called in all. 0: 5.
	Attempts int
	// Backoff is the pause before the second attempt; each further one is twice as long. A random part of up to a half is taken
	// off, so that tasks that fail together do not come back together. 0: 100 ms.
	Backoff time.Duration
	// MaxBackoff is the longest pause. 0: 10 s, or Backoff if that is longer.
	MaxBackoff time.Duration
	// Then is what becomes of the record when the last attempt has failed. Zero: DeadLetter.
	Then Outcome
}

func (r Retry) policy() policy {
	p := policy{then: r.Then, attempts: r.Attempts, backoff: r.Backoff, most: r.MaxBackoff, retry: true}
	if p.attempts == 0 {
		p.attempts = 5
	}
	if p.backoff == 0 {
		p.backoff = 100 * time.Millisecond
	}
	if p.most == 0 {
		p.most = max(10*time.Second, p.backoff)
	}
	return p
}

// policy is a FailurePolicy with its defaults in place.
type policy struct {
	then     Outcome
	retry    bool
	attempts int
	backoff  time.Duration
	most     time.Duration
}

// pause returns how long to wait after the n-th attempt, from 1 on.
func (p *policy) pause(n int) time.Duration {
	d := p.backoff
	for ; n > 1 && d < p.most; n-- {
		d *= 2
	}
	return min(d, p.most)
}

func (p *policy) check() error {
	switch {
	case p.then < DeadLetter || p.then > Skip:
		return fmt.Errorf("there is no policy %v: use DeadLetter, Stop, Skip or Retry", p.then)
	case p.retry && p.attempts < 2:
		return fmt.Errorf("Retry.Attempts is %d: it counts the first call, so it must be 2 or more", p.attempts)
	case p.backoff < 0 || p.most < p.backoff:
		return fmt.Errorf("Retry.Backoff %v must not be negative, nor longer than MaxBackoff %v", p.backoff, p.most)
	}
	return nil
}

func (p policy) String() string {
	if p.retry {
		return fmt.Sprintf("%d attempts, then %v", p.attempts, p.then)
	}
	return p.then.String()
}

// GonePolicy says what becomes of a task whose position in a topic is none any more: retention has removed records that it has not
// processed, or the topic was made anew. Stream.OnOffsetGone sets it.
type GonePolicy int

const (
	// GoneStop ends the app with an error that says what is gone: a *stream.OffsetGoneError, *stream.RemadeError or
	// *stream.OffsetAheadError. It is the default.
	GoneStop GonePolicy = iota
	// GoneEarliest goes on with the oldest record that there is. The logger is told what was left out.
	GoneEarliest
	// GoneLatest goes on with the first record that comes after the task has noticed. The logger is told what was left out.
	GoneLatest
)

// String gives "stop", "earliest" or "latest".
func (p GonePolicy) String() string {
	switch p {
	case GoneStop:
		return "stop"
	case GoneEarliest:
		return "earliest"
	case GoneLatest:
		return "latest"
	}
	return fmt.Sprintf("policy(%d)", int(p))
}

var errNoPolicy = errors.New("OnFailure needs a policy, got nil")

func (b *Builder) checkedPolicy(at string, given FailurePolicy) policy {
	if given == nil {
		b.mistake(at, "%v", errNoPolicy)
		return policy{}
	}
	p := given.policy()
	if err := p.check(); err != nil {
		b.mistake(at, "OnFailure: %v", err)
	}
	return p
}

// OnFailure sets the policy for what fails anywhere in the topology. Without it, it is DeadLetter.
func (b *Builder) OnFailure(p FailurePolicy) { b.policy = b.checkedPolicy(callSite(), p) }

// OnFailure sets the policy for what fails in the source or operator that this stream comes from, in the place of the
// topology's. It returns the stream.
func (s Stream[V]) OnFailure(p FailurePolicy) Stream[V] {
	if s.n != nil {
		s.n.setPolicy(s.b.checkedPolicy(callSite(), p))
	}
	return s
}

// Sink is the end of a stream in a topic.
type Sink struct {
	b *Builder
	v *vertex
}

// OnFailure sets the policy for records that cannot be written, in the place of the topology's.
func (s Sink) OnFailure(p FailurePolicy) {
	if s.v != nil {
		s.v.setPolicy(s.b.checkedPolicy(callSite(), p))
	}
}

// setPolicy sets the policy of v, and of what else was made with it: the writing end of a KeyBy, the parts of a join.
func (v *vertex) setPolicy(p policy) {
	v.policy = &p
	if v.fedBy != nil {
		v.fedBy.policy = &p
	}
	for _, parent := range v.parents {
		if v.composed && parent.composed && parent.at == v.at {
			parent.setPolicy(p)
		}
	}
}

// resolvePolicies gives every vertex that has no policy of its own the topology's.
func (b *Builder) resolvePolicies() {
	for _, v := range b.vertices {
		if v.policy == nil {
			v.policy = &b.policy
		} else {
			v.ownPolicy = v.kind == kindDeliver || *v.policy != b.policy
		}
	}
}

// sendsDeadLetters reports whether any operator of the topology may send one.
func (t *Topology) sendsDeadLetters() bool {
	if t.policy.then == DeadLetter {
		return true
	}
	for _, sub := range t.subs {
		if sub.sendsDeadLetters() {
			return true
		}
	}
	return false
}

func (sub *subTopology) sendsDeadLetters() bool {
	for _, v := range sub.vertices {
		if v.policy.then == DeadLetter {
			return true
		}
	}
	return false
}
