package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	// chainFrom is how many records a delivery to a partition must have to go by their places: fewer are not worth finding out that somebody
	// else has written.
	chainFrom = 16
	// longestRest is how many deliveries at most go by ids, where others write too, until places are tried again.
	longestRest = 64
)

// errOutrun says that somebody has written to a partition that was just read to its end.
var errOutrun = errors.New("stream: the partition has been written to meanwhile")

// Owned says whether who asks is still the owner: nil, or the error that it is to end with. It should answer at once where the answer is
// known; sure asks for one that is not remembered but found out now.
type Owned func(ctx context.Context, sure bool) error

// Outbox publishes what the owner of a journal has committed. Each record is stored once, in order, whatever happens to its owner, to the
// connection and to the server, and whoever takes the owner's place meanwhile: that one is found out by asking, and by what it has stored.
//
// Where nobody else writes to a partition, its records name the place behind which they are to stand, and the server refuses those that
// would stand elsewhere: late copies, and whatever a replaced owner still sends. No ids are kept for them. Where others write too, in
// small deliveries, and in compacted topics, records have their ids in the header Nats-Msg-Id, and the server drops what comes twice within
// the topic's duplicate window.
//
// An Outbox is used by one goroutine at a time.
type Outbox struct {
	c          *Client
	owned      Owned
	identified []string
	outlets    map[place]*outlet
}

// outlet is what an Outbox knows of a partition that it writes to.
type outlet struct {
	last   uint64 // position of its last message, behind which nobody had written then; 0: it is not known
	misses int    // how often in a row somebody had
	rest   int    // deliveries that go by ids
}

// NewOutbox returns an Outbox that has published nothing yet. owned is asked before anything is sent for the first time, after a pause, and after
// trouble. identified are the topics whose readers want to know each record's id: these always have it.
func (c *Client) NewOutbox(owned Owned, identified ...string) *Outbox {
	return &Outbox{c: c, owned: owned, identified: identified, outlets: make(map[place]*outlet)}
}

// Publish is Client.Publish for what has been committed to the journal since the last Publish has returned. The order matters: that the
// commit was accepted shows that nobody else has been the owner until then. An error of owned ends it, and is
// returned.
func (o *Outbox) Publish(ctx context.Context, batch []Outgoing) error {
	lanes, err := o.c.publish(ctx, batch, func(l *lane, records int) {
		l.owned = o.owned
		if !slices.Contains(o.identified, l.spec.Name) {
			l.marks.chain = o.outlet(l).chain(l, records)
		}
	})
	for _, l := range lanes {
		o.outlet(l).learn(l, err)
	}
	return err
}

func (o *Outbox) outlet(l *lane) *outlet {
	at := place{l.spec.Name, l.part}
	out := o.outlets[at]
	if out == nil {
		out = new(outlet)
		o.outlets[at] = out
	}
	return out
}

// chain says how the records of the next delivery are bound.
func (out *outlet) chain(l *lane, records int) chain {
	switch {
	case out.last == 0 || l.spec.Compact || records < chainFrom:
	case out.rest > 0:
		out.rest--
	default:
		return chain{kind: chained, after: out.last}
	}
	return chain{}
}

// learn takes note of how a delivery has ended.
func (out *outlet) learn(l *lane, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out.last = l.stored
	if err != nil {
		out.last = 0
	}
	switch {
	case l.rivalled:
		out.misses++
		out.rest = min(1<<out.misses, longestRest)
	case l.marks.chain.kind == chained:
		out.misses = 0
	}
}

// Republish publishes what a former owner has committed and may not have delivered, but for what is stored already. stored is when the commit
// was. The records of a partition have ids of one commit, in their order. What the former owner still has on its way does not come
// after it.
func (o *Outbox) Republish(ctx context.Context, batch []Outgoing, stored time.Time) (missing int, err error) {
	places := make(map[place][]Outgoing)
	var order []place
	for _, r := range batch {
		at := place{r.Topic.Name, r.Partition}
		if places[at] == nil {
			order = append(order, at)
		}
		places[at] = append(places[at], r)
	}
	for _, at := range order {
		n, err := o.republish(ctx, places[at], stored)
		if missing += n; err != nil {
			return missing, err
		}
	}
	return missing, nil
}

// republish does so for one partition. The first record is bound to stand behind what was read. So it cannot be stored if the former owner has written
// meanwhile; and what that one has on its way is bound to stand where this one stands then, or has an id. If it is somebody
// else who has written, that is as good.
func (o *Outbox) republish(ctx context.Context, records []Outgoing, stored time.Time) (missing int, err error) {
	p := partitionOf{records[0].Topic.withDefaults(), records[0].Partition}
	if err := p.spec.checkPartition(p.part); err != nil {
		return 0, err
	}
	start, err := trailOf(records)
	if err != nil {
		return 0, err
	}
	oldest := func(time.Time) time.Time { return stored.Add(-clockSkew) }
	for kind, had := anchored, uint64(0); ; {
		found, end, err := o.c.searchBack(ctx, p, start, oldest)
		if err != nil {
			return 0, fmt.Errorf("stream: look for delivered records in topic %q partition %d: %w", p.spec.Name, p.part, err)
		}
		if found.newer {
			return 0, nil
		}
		if kind == unbound && found.last > had {
			kind = anchored // it was the former owner, after all
		}
		had = found.last
		rest := records[min(found.last, uint64(len(records))):]
		if len(rest) == 0 {
			return 0, nil
		}
		_, err = o.c.publish(ctx, rest, func(l *lane, _ int) {
			l.owned = o.owned
			l.marks.chain = chain{kind: kind, after: end}
		})

		if !errors.Is(err, errOutrun) {
			return len(rest), err
		}
		if err := o.owned(ctx, true); err != nil {
			return 0, err
		}
		kind = unbound
	}
}

// trailOf gives what records are known by, numbered from 1.
func trailOf(records []Outgoing) (trail, error) {
	t := trail{ids: make(map[string]uint64, len(records))}
	for i := range records {
		t.ids[records[i].ID] = uint64(i) + 1
	}
	ends := [2]*RecordID{&t.first, &t.final}
	for i, r := range []*Outgoing{&records[0], &records[len(records)-1]} {
		id, ok := ParseRecordID(r.ID)
		if !ok {
			return t, fmt.Errorf("stream: the record id %q is not of the form writer/commit/index", r.ID)
		}
		*ends[i] = id
	}
	return t, nil
}
