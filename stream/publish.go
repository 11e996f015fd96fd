package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// publishWindow is how many messages per partition Publish keeps in flight.
	publishWindow = 4096
	// idRoom is the most that a message id adds to a message, beside its own length.
	idRoom = len("NATS/1.0\r\n\r\n") + len(jetstream.MsgIDHeader) + len(": \r\n")
)

// Outgoing is a record on its way to a chosen partition.
type Outgoing struct {
	// Topic and Partition say where to.
	Topic     TopicSpec
	Partition int
	// Key is the record's key, unescaped.
	Key string
	// Data are the bytes of its value.
	Data []byte
	// Headers go with it. nil: none, which is what readers like best.
	Headers Headers
	// ID is the message id by which the server drops what comes twice within
	// the topic's duplicate window. Empty: none.
	ID string
}

// Publish stores the records and returns when the server has acknowledged all
// of them. Records of one partition are stored in the order given; what fails
// is sent again, from there on, until ctx ends. Records with ids are looked for in
// their partition first where it is not known whether they are stored; without ids
// a record may then be stored twice. A record that is too large is a *TooLargeError before
// anything is sent; a topic that does not exist a *TopicNotFoundError; a record
// that the server refuses for good a *PublishError, and the others are stored.
func (c *Client) Publish(ctx context.Context, batch []Outgoing) error {
	return c.PublishOwned(ctx, batch, nil)
}

// PublishOwned is Publish for a writer that another one may have replaced while it
// slept, or could not reach the server. owned is asked before the first record of a partition is
// sent, and before anything is sent again; its error ends the publishing, and is
// returned. It should answer at once as long as the answer is known. nil is asked
// nothing.
func (c *Client) PublishOwned(ctx context.Context, batch []Outgoing, owned func(context.Context) error) error {
	type place struct {
		topic string
		part  int
	}
	acks, err := c.router()
	if err != nil {
		return err
	}
	groups := make(map[place]*lane)
	left := make(map[*lane]int)
	order := make([]*lane, len(batch))
	msgs := make([]outMsg, len(batch))
	for i := range batch {
		o := &batch[i]
		at := place{o.Topic.Name, o.Partition}
		l := groups[at]
		if l == nil {
			spec := o.Topic.withDefaults()
			if err := spec.checkPartition(o.Partition); err != nil {
				return err
			}
			l = c.newLane(acks, spec, o.Partition, defaultLimits)
			l.owned = owned
			groups[at] = l
		}
		if msgs[i], err = c.outgoing(l, o); err != nil {
			return err
		}
		order[i] = l
		left[l]++
	}
	defer func() {
		for _, l := range groups {
			_ = l.close() // what is in flight then is told by the error that ended this
		}
	}()
	for i, l := range order {
		left[l]--
		if err := l.add(ctx, msgs[i], left[l] == 0); err != nil {
			return fmt.Errorf("stream: publish to topic %q: %w", l.spec.Name, err)
		}
	}
	var errs []error
	for _, l := range groups {
		if err := l.wait(ctx); err != nil {
			return fmt.Errorf("stream: publish to topic %q: %w", l.spec.Name, err)
		}
		errs = append(errs, l.takeErrors()...)
	}
	return errors.Join(errs...)
}

// outgoing checks key and size and gives the message.
func (c *Client) outgoing(l *lane, o *Outgoing) (outMsg, error) {
	subject, h, err := l.spec.address(l.part, o.Key, o.Headers)
	if err != nil {
		return outMsg{}, err
	}
	h = l.spec.tombstone(h, o.Data)
	size := h.size() + int64(len(o.Data))
	if o.ID != "" {
		size += int64(idRoom + len(o.ID))
	}
	if l.mark != nil {
		size += int64(markSize)
	}
	if limit := c.MaxPayload(); size > limit {
		return outMsg{}, &TooLargeError{Topic: l.spec.Name, Key: o.Key, Size: size, Max: limit}
	}
	return outMsg{subject: subject, key: o.Key, data: o.Data, headers: h.nats(), id: o.ID}, nil
}

// PublishedIDs gives the message ids of the records that partition has stored
// at or after since. A new owner uses it to find what its predecessor published
// longer ago than the duplicate window reaches.
func (c *Client) PublishedIDs(ctx context.Context, spec TopicSpec, partition int, since time.Time) (map[string]struct{}, error) {
	spec = spec.withDefaults()
	if err := spec.checkPartition(partition); err != nil {
		return nil, err
	}
	ids := make(map[string]struct{})
	stream := spec.BackingStream(partition)
	f := c.ephemeralFeed(stream, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartTimePolicy,
		OptStartTime:  &since,
		HeadersOnly:   true,
	})
	f.errs = spec.feedErrors(partition)
	var end uint64
	f.handle = func(m *nats.Msg, p position) bool {
		if id := m.Header.Get(jetstream.MsgIDHeader); id != "" {
			ids[id] = struct{}{}
		}
		return p.pending > 0 && p.stream < end
	}
	err := func() error {
		info, err := c.streamInfo(ctx, stream)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return f.errs.notFound()
		}
		if err != nil || info.State.Msgs == 0 || info.State.LastTime.Before(since) {
			return err
		}
		end = info.State.LastSeq
		if err := f.open(ctx); err != nil {
			return err
		}
		defer f.close()
		if err := f.run(ctx); err != nil {
			return err
		}
		return ctx.Err()
	}()
	if err != nil {
		return nil, fmt.Errorf("stream: read the ids in topic %q partition %d: %w", spec.Name, partition, err)
	}
	return ids, nil
}

// sendBare publishes without asking for an acknowledgement.
func (c *Client) sendBare(m outMsg) error {
	if m.headers == nil {
		return c.nc.Publish(m.subject, m.data)
	}
	return c.nc.PublishMsg(&nats.Msg{Subject: m.subject, Header: m.headers, Data: m.data})
}
