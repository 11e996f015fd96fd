package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
)

// publishWindow is how many messages per partition Publish keeps in flight.
const publishWindow = 4096

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
	_, err := c.publish(ctx, batch, func(*lane, int) {})
	return err
}

// publish is Publish. prepare is given each lane before anything is added to it, with how many
// records it will take.
func (c *Client) publish(ctx context.Context, batch []Outgoing, prepare func(l *lane, records int)) (map[place]*lane, error) {
	lanes, order, left, err := c.lanesFor(batch)
	if err != nil {
		return nil, err
	}
	msgs := make([]outMsg, len(batch))
	for i, l := range order {
		if msgs[i], err = c.outgoing(l, &batch[i]); err != nil {
			return nil, err
		}
	}
	for _, l := range lanes {
		prepare(l, left[l])
	}
	defer func() {
		for _, l := range lanes {
			_ = l.close() // what is in flight then is told by the error that ended this
		}
	}()
	for i, l := range order {
		left[l]--
		if err := l.add(ctx, msgs[i], left[l] == 0); err != nil {
			if errors.Is(err, ErrClosed) {
				err = errors.Join(l.takeErrors()...) // why it was closed
			}
			return lanes, fmt.Errorf("stream: publish to topic %q: %w", l.spec.Name, err)
		}
	}
	var errs []error
	for _, l := range lanes {
		if err := l.wait(ctx); err != nil {
			return lanes, fmt.Errorf("stream: publish to topic %q: %w", l.spec.Name, err)
		}
		errs = append(errs, l.takeErrors()...)
	}
	return lanes, errors.Join(errs...)
}

// place is where records go.
type place struct {
	topic string
	part  int
}

// lanesFor makes a lane for each partition that the records go to. order says which lane each
// of them takes, left how many a lane takes.
func (c *Client) lanesFor(batch []Outgoing) (lanes map[place]*lane, order []*lane, left map[*lane]int, err error) {
	acks, err := c.router()
	if err != nil {
		return nil, nil, nil, err
	}
	lanes, order, left = make(map[place]*lane), make([]*lane, len(batch)), make(map[*lane]int)
	for i := range batch {
		o := &batch[i]
		at := place{o.Topic.Name, o.Partition}
		l := lanes[at]
		if l == nil {
			spec := o.Topic.withDefaults()
			if err := spec.checkPartition(o.Partition); err != nil {
				return nil, nil, nil, err
			}
			l = c.newLane(acks, spec, o.Partition, defaultLimits)
			lanes[at] = l
		}
		order[i] = l
		left[l]++
	}
	return lanes, order, left, nil
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
	if l.marks.prefix != "" {
		size += int64(markSize)
	}
	if limit := c.MaxPayload(); size > limit {
		return outMsg{}, &TooLargeError{Topic: l.spec.Name, Key: o.Key, Size: size, Max: limit}
	}
	return outMsg{subject: subject, key: o.Key, data: o.Data, headers: h.nats(), id: o.ID}, nil
}

// sendBare publishes without asking for an acknowledgement.
func (c *Client) sendBare(m outMsg) error {
	if m.headers == nil {
		return c.nc.Publish(m.subject, m.data)
	}
	return c.nc.PublishMsg(&nats.Msg{Subject: m.subject, Header: m.headers, Data: m.data})
}
