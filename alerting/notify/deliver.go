package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// ErrRefused is wrapped by errors of receivers that will say the same when they are asked again, such as HTTP's 4xx.
var ErrRefused = errors.New("the receiver refuses the notification")

// Target is a receiver and how it is told.
type Target struct {
	// Receiver and Integration are those of its notifications.
	Receiver    string
	Integration int
	// Topic is the name of the topic that its notifications wait in; they are tasks of their own, so that a receiver which does not answer
	// holds up nobody else. Empty: "notify-" and the receiver, with the integration if it is not 0.
	Topic string
	// Send tells it. Package receivers has functions for that. Required.
	Send func(context.Context, processor.Delivery[Notification]) error
	// Rate bounds how often Send is called. The zero Rate: as often as there is something to tell.
	Rate Rate
	// Refused, if set, is given notifications for which Send has returned an ErrRefused; with nil they count as delivered. Nil: an ErrRefused
	// is an error like others.
	Refused func(context.Context, processor.Delivery[Notification], error) error
}

// Deliver hands the notifications of one receiver over: at least once, in order, each with a token that stays the same. While the receiver
// fails, it goes on trying, with pauses of up to 10 s, unless Sink.OnFailure says otherwise.
func Deliver(b *processor.Builder, told processor.Stream[Notification], target Target) processor.Sink {
	if target.Send == nil {
		processor.Mistake(told, "Deliver: the target %s has no Send", target.Receiver)
		return processor.Sink{}
	}
	if err := target.Rate.validate(); err != nil {
		processor.Mistake(told, "Deliver: the target %s: %v", target.Receiver, err)
		return processor.Sink{}
	}
	if target.Topic == "" {
		target.Topic = "notify-" + target.Receiver
		if target.Integration > 0 {
			target.Topic += fmt.Sprintf("-%d", target.Integration)
		}
	}
	topic := stream.Topic[Notification]{Name: target.Topic, Time: func(n Notification) time.Time { return n.At }}
	told.Filter(func(n Notification) bool { return n.Receiver == target.Receiver && n.Integration == target.Integration }).To(topic)
	c := &courier{target: target, turns: target.Rate.turns()}
	return processor.From(b, topic).Deliver("tell-"+strings.TrimPrefix(target.Topic, "notify-"), c.deliver)
}

// courier hands over one after the other. The topic has one partition, so there is one task; while it moves there may be two of them.
type courier struct {
	target Target
	turns  *turns // nil: no limit

	mu   sync.Mutex
	done map[string]bool // tokens of the batch in hand: not all of it again when one fails
}

func (c *courier) deliver(ctx context.Context, batch []processor.Delivery[Notification]) error {
	for _, d := range batch {
		if c.isDone(d.Token) {
			continue
		}
		err := c.turns.wait(ctx)
		if err == nil {
			err = c.target.Send(ctx, d)
		}
		if errors.Is(err, ErrRefused) && c.target.Refused != nil {
			err = c.target.Refused(ctx, d, err)
		}
		if err != nil {
			return fmt.Errorf("tell %s of group %s: %w", d.Value.Receiver, d.Value.GroupKey, err)
		}
		c.note(d.Token)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done = nil
	return nil
}

func (c *courier) isDone(token string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done[token]
}

func (c *courier) note(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(map[string]bool)
	}
	c.done[token] = true
}

// Refusal is a notification that a receiver has refused.
type Refusal struct {
	Token        string       `json:"token"`
	Error        string       `json:"error"`
	Notification Notification `json:"notification"`
}

// Refusals returns a function for Target.Refused that puts refused notifications into a topic, each once.
func Refusals(client *stream.Client, topic stream.Topic[Refusal]) func(context.Context, processor.Delivery[Notification], error) error {
	spec := topic.Spec()
	return func(ctx context.Context, d processor.Delivery[Notification], refused error) error {
		data, err := json.Marshal(Refusal{Token: d.Token, Error: refused.Error(), Notification: d.Value})
		if err != nil {
			return fmt.Errorf("encode a refused notification: %w", err)
		}
		key := d.Value.Receiver
		return client.Publish(ctx, []stream.Outgoing{{
			Topic: spec, Partition: stream.Partition(key, spec.Partitions), Key: key, Data: data, ID: d.Token + "/refused",
		}})
	}
}
