package processor

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rossby-streams/rossby/processor/internal/engine"
	"github.com/rossby-streams/rossby/stream"
)

// Letter is a dead letter, taken apart.
type Letter struct {
	// Topic, Partition and Offset say where the record was read. Topic is empty for what was no record: the failure of a timer or
	// of a store.
	Topic     string
	Partition int
	Offset    uint64
	// Key and Data are the record's own.
	Key  string
	Data []byte
	// Operator refused it, Error says why, Attempt how often it was called, Time when.
	Operator string
	Error    string
	Attempt  int
	Time     time.Time
	// Headers are those of the record and those of the letter.
	Headers stream.Headers
}

// RedriveConfig says what Redrive sends back. The zero value sends everything.
type RedriveConfig struct {
	// Group is the consumer group on the dead letter topic under which the position is kept. "": "redrive". Another group begins at
	// the first letter.
	Group string
	// Filter picks the letters. Those that it does not want are passed over for good, as far as this group is concerned. Nil: all.
	Filter func(Letter) bool
	// Limit is how many letters are sent back at most, over all partitions; a batch that was begun by a Redrive that was killed is
	// finished first. 0: all that there are when Redrive begins.
	Limit int
}

// Redriven is what became of the letters that Redrive has looked at.
type Redriven struct {
	Sent     int // back to their topics
	Filtered int // passed over, since Filter did not want them
	// Kept were passed over because there is nothing to send: no record failed but a timer, a store, or a part of a record's work.
	Kept int
}

// redriveSuffix is what the names of Redrive's journals end with.
const redriveSuffix = "-redrive"

const (
	// redriveBatch is how many letters are sent back between two notes of the position.
	redriveBatch = 500
	// redriveLook is how often Redrive asks whether there are more letters when none comes.
	redriveLook = 50 * time.Millisecond
)

// Redrive sends dead letters back: each record to the topic and the partition where it was read, with its own key, bytes and headers,
// as a new record at the end; its event time is what it was, so a window that has closed by then takes it as late. Attempts are counted on: a record that fails again becomes a letter
// that says so. It ends with the letters that were there when it began, so one that comes back at once is not sent twice. Letters
// stay in their topic, until its MaxAge.
//
// Each letter is sent once, and a Redrive that is killed goes on where it was: the position, and what is about to be sent, are in the
// journal "<topic>-<group>-redrive", and each record has an id made of its letter's position, by which a second copy is found. The
// durable consumers of the group show the position to NATS tools. Of two that run at the same time in one group, the older one ends with stream.ErrFenced.
func Redrive(ctx context.Context, client *stream.Client, letters stream.Topic[[]byte], cfg RedriveConfig) (Redriven, error) {
	if cfg.Group == "" {
		cfg.Group = "redrive"
	}
	r := &redrive{client: client, letters: letters.Spec(), cfg: cfg, topics: make(map[string]stream.TopicSpec)}
	if err := r.run(ctx); err != nil {
		return r.done, fmt.Errorf("redrive topic %s: %w", letters.Name, err)
	}
	return r.done, nil
}

// redrive is one Redrive under way.
type redrive struct {
	client  *stream.Client
	letters stream.TopicSpec
	cfg     RedriveConfig
	journal *stream.Journal
	outbox  *stream.Outbox
	state   redriveState
	noted   time.Time // when the state that was found became durable
	done    Redriven
	topics  map[string]stream.TopicSpec // those that letters have named
}

// redriveState is an entry of the journal.
type redriveState struct {
	Version int      `json:"version"`
	Epoch   string   `json:"epoch"` // part of all ids; a topic that was made anew has another one
	Next    []uint64 `json:"next"`  // per partition: every letter before is done
	// Partition and To say what is about to be sent back: the letters from Next to To, exclusively. To is 0 when nothing is.
	Partition int    `json:"partition"`
	To        uint64 `json:"to"`
}

const redriveVersion = 1

func (r *redrive) run(ctx context.Context) error {
	extents, err := r.client.Offsets(ctx, r.letters)
	if err != nil {
		return err
	}
	if err := r.open(ctx, extents); err != nil {
		return err
	}
	for i := range extents { // first what was interrupted
		p := (r.state.Partition + i) % len(extents)
		from := max(r.state.Next[p], extents[p].First)
		if from >= extents[p].Next || r.full() {
			continue
		}
		if err := r.partition(ctx, p, from, extents[p].Next); err != nil {
			return fmt.Errorf("partition %d: %w", p, err)
		}
	}
	return nil
}

func (r *redrive) full() bool { return r.cfg.Limit > 0 && r.done.Sent >= r.cfg.Limit }

// open reads how far the group has come, and what it was about to send.
func (r *redrive) open(ctx context.Context, extents []stream.PartitionOffsets) (err error) {
	if r.journal, err = r.client.OpenJournal(ctx, r.letters.Name+"-"+r.cfg.Group+redriveSuffix); err != nil {
		return err
	}
	r.outbox = r.client.NewOutbox(func(ctx context.Context, _ bool) error { return r.journal.Verify(ctx) })
	err = r.journal.Replay(ctx, func(e stream.Entry) error {
		r.state, r.noted = redriveState{}, e.Stored
		if err := json.Unmarshal(e.Data, &r.state); err != nil {
			return fmt.Errorf("the journal of the group: %w", err)
		}
		if r.state.Version != redriveVersion {
			return fmt.Errorf("the journal of the group has format %d, this program reads format %d: run the version that wrote it, or use another group",
				r.state.Version, redriveVersion)
		}
		return nil
	})
	if err == nil && !r.state.fits(extents) { // new, or the topic was made anew
		r.state = redriveState{Version: redriveVersion, Epoch: rand.Text(), Next: make([]uint64, len(extents))}
	}
	return err
}

// fits reports whether a state is about the topic as it is.
func (s *redriveState) fits(extents []stream.PartitionOffsets) bool {
	if s.Epoch == "" || len(s.Next) != len(extents) || s.Partition < 0 || s.Partition >= len(extents) {
		return false
	}
	for p, extent := range extents {
		if s.Next[p] > extent.Next || p == s.Partition && s.To > extent.Next {
			return false
		}
	}
	return true
}

// partition sends back what the letters from to to, exclusively, say.
func (r *redrive) partition(ctx context.Context, p int, from, to uint64) error {
	messages := make(chan stream.Message)
	failed, stop := make(chan error, 1), make(chan struct{})
	reader, err := r.client.OpenReader(ctx, r.letters, p, stream.ReaderConfig{
		From: from,
		Deliver: func(m stream.Message) {
			select {
			case messages <- m:
			case <-stop:
			}
		},
		Failed: func(err error) { failed <- err },
	})
	if err != nil {
		return err
	}
	defer reader.Close()
	defer close(stop)
	look := time.NewTicker(redriveLook)
	defer look.Stop()
	var batch []stream.Message
	for end := false; !end; {
		select {
		case m := <-messages:
			if end = m.Offset+1 >= to; m.Offset < to {
				batch = append(batch, m)
			}
		case <-look.C: // the last letters of the range may have been deleted
			if end, err = reader.CaughtUp(ctx); err != nil {
				return err
			}
		case err := <-failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
		if len(batch) == redriveBatch || end && len(batch) > 0 {
			if err := r.send(ctx, p, batch); err != nil {
				return err
			}
			batch = batch[:0]
			end = end || r.full()
		}
	}
	return nil
}

// send sends one batch of letters back, once, and stores the position.
func (r *redrive) send(ctx context.Context, p int, batch []stream.Message) error {
	begun := 0 // those that may have been sent already
	for begun < len(batch) && p == r.state.Partition && batch[begun].Offset < r.state.To {
		begun++
	}
	if begun > 0 {
		if err := r.sendPart(ctx, p, batch[:begun], true); err != nil {
			return err
		}
	}
	if batch = batch[begun:]; len(batch) == 0 || r.full() {
		return nil
	}
	return r.sendPart(ctx, p, batch, false)
}

// sendPart sends letters back. begun says that somebody has been at it before and may have sent some; it was within the limit then.
func (r *redrive) sendPart(ctx context.Context, p int, batch []stream.Message, begun bool) error {
	var out []stream.Outgoing
	done := r.done
	next := batch[0].Offset
	for i := range batch {
		if !begun && r.cfg.Limit > 0 && done.Sent >= r.cfg.Limit {
			break
		}
		o, err := r.outgoing(ctx, &batch[i], &done)
		if err != nil {
			return fmt.Errorf("offset %d: %w", batch[i].Offset, err)
		}
		if o != nil {
			out = append(out, *o)
		}
		next = batch[i].Offset + 1
	}
	if begun {
		if _, err := r.outbox.Republish(ctx, out, r.noted); err != nil {
			return err
		}
	} else {
		r.state.Partition, r.state.To = p, next
		if err := r.note(ctx); err != nil {
			return err
		}
		if err := r.outbox.Publish(ctx, out); err != nil {
			return err
		}
	}
	r.state.Next[p], r.state.To = next, 0
	r.done = done
	if err := r.note(ctx); err != nil {
		return err
	}
	return r.client.StoreOffset(ctx, r.letters, r.cfg.Group, p, next)
}

// note makes the state durable, and makes sure that nobody else is at it.
func (r *redrive) note(ctx context.Context) error {
	data, err := json.Marshal(r.state)
	if err != nil {
		return err
	}
	entry, err := r.journal.Append(ctx, data)
	if err != nil {
		return err
	}
	return r.journal.Trim(ctx, entry.Seq)
}

// outgoing makes the record of a letter, or counts why there is none.
func (r *redrive) outgoing(ctx context.Context, m *stream.Message, done *Redriven) (*stream.Outgoing, error) {
	letter, err := openLetter(m)
	switch {
	case err != nil:
		return nil, err
	case letter.Topic == "" || letter.Headers.Get(DeadPartial) != "":
		done.Kept++
		return nil, nil
	case r.cfg.Filter != nil && !r.cfg.Filter(letter):
		done.Filtered++
		return nil, nil
	}
	topic, err := r.topic(ctx, letter.Topic)
	if err != nil {
		return nil, err
	}
	done.Sent++
	o := &stream.Outgoing{
		Topic: topic, Partition: letter.Partition,
		Key: letter.Key, Data: letter.Data, Headers: letter.original(),
		ID: r.id(m.Partition, m.Offset),
	}
	if place := letter.Headers.Get(DeadRepartitioned); place != "" {
		e := engine.Emitted{Key: letter.Key, Headers: o.Headers, Data: letter.Data}
		if _, err := fmt.Sscanf(place, "%d %d %d %d", &e.Time, &e.Window.Start, &e.Window.End, &e.Window.Closes); err != nil {
			return nil, fmt.Errorf("the header %s is %q, not four numbers: %w", DeadRepartitioned, place, err)
		}
		o.Key, o.Headers, o.Data = engine.BatchKey, nil, engine.EncodeBatch(&e)
	}
	return o, nil
}

// topic gives the description of a topic as it is now: it says where keys travel.
func (r *redrive) topic(ctx context.Context, name string) (stream.TopicSpec, error) {
	spec, ok := r.topics[name]
	if !ok {
		info, err := r.client.DescribeTopic(ctx, name)
		if err != nil {
			return spec, err
		}
		spec = info.Spec
		r.topics[name] = spec
	}
	return spec, nil
}

// id identifies the record of a letter. Read as "task/commit/index", as sub-topologies do, it tells them which letters they have had.
func (r *redrive) id(partition int, offset uint64) string {
	return fmt.Sprintf("%s/%s-%d/%d/0", r.state.Epoch, r.letters.Name, partition, offset)
}

var errNoLetter = errors.New("it is no dead letter of this version")

// openLetter reads a dead letter.
func openLetter(m *stream.Message) (Letter, error) {
	h := m.Headers
	l := Letter{
		Topic: h.Get(DeadTopic), Key: m.Key, Data: m.Data, Operator: h.Get(DeadOperator), Error: h.Get(DeadError), Headers: h,
	}
	if l.Operator == "" {
		return l, fmt.Errorf("%w: the header %s is missing", errNoLetter, DeadOperator)
	}
	var errs [5]error
	if escaped := h.Get(stream.KeyHeader); escaped != "" { // too long for a subject
		l.Key, errs[4] = stream.UnescapeKey(escaped)
	}
	if l.Topic != "" {
		l.Partition, errs[0] = strconv.Atoi(h.Get(DeadPartition))
		l.Offset, errs[1] = strconv.ParseUint(h.Get(DeadOffset), 10, 64)
	}
	l.Attempt, errs[2] = strconv.Atoi(h.Get(DeadAttempt))
	l.Time, errs[3] = time.Parse(time.RFC3339Nano, h.Get(DeadTime))
	if err := errors.Join(errs[:]...); err != nil {
		return l, fmt.Errorf("%w: %w", errNoLetter, err)
	}
	if l.Partition < 0 || l.Attempt < 0 {
		return l, fmt.Errorf("%w: partition %d, attempt %d", errNoLetter, l.Partition, l.Attempt)
	}
	return l, nil
}

// original returns the headers that the record came with, and the count of its attempts.
func (l *Letter) original() stream.Headers {
	h := make(stream.Headers)
	for name, values := range l.Headers {
		if name != stream.KeyHeader && !strings.HasPrefix(name, deadPrefix) && !strings.HasPrefix(name, "Nats-") {
			h[name] = values
		}
	}
	h.Set(AttemptHeader, strconv.Itoa(l.Attempt))
	return h
}
