package notify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// Inquiry asks a running app for what its Notify knows, from any process: the app answers if it runs with processor.Config.Queries. What was
// read is looked at again while it is the same. It may be used by several goroutines.
type Inquiry struct {
	cfg    Config
	maxAge time.Duration
	clock  func() time.Time

	generations *processor.Query[uint64]
	alerts      *processor.Query[known]
	groups      *processor.Query[Group]
	log         *processor.Query[Entry]
	silences    *processor.Query[silenceRow]

	turn chan struct{} // who has taken it reads and looks
	copy copied
}

// copied is what an Inquiry has read.
type copied struct {
	d          *Dispatcher
	versions   map[string]silenceRow
	generation uint64
	at         time.Time     // of the last answer
	cost       time.Duration // of reading all
	err        error         // of the last attempt
	failed     time.Time
}

// Freshness says how old a Look is.
type Freshness struct {
	// At is when the app was asked last; all that it had committed by then was seen.
	At time.Time
	// Generation counts the changes of what Notify knows.
	Generation uint64
}

// InquiryConfig says how an app is asked.
type InquiryConfig struct {
	// Notify is the configuration of the app's Notify.
	Notify Config
	// MaxAge is how old an answer may be. Zero: one second. Where reading everything takes long, answers get older, up to 10 s: at most a tenth
	// of the time is spent on it.
	MaxAge time.Duration
	// Now is the clock, time.Now. Required.
	Now func() time.Time
}

// NewInquiry returns an Inquiry. The error wraps processor.ErrNoStore if the topology has no Notify.
func NewInquiry(client *stream.Client, t *processor.Topology, cfg InquiryConfig) (*Inquiry, error) {
	if cfg.Now == nil {
		return nil, errors.New("notify: the inquiry has no clock: set Now to time.Now")
	}
	d, err := New(cfg.Notify)
	if err != nil {
		return nil, err
	}
	if cfg.MaxAge <= 0 {
		cfg.MaxAge = time.Second
	}
	q := &Inquiry{cfg: cfg.Notify, maxAge: cfg.MaxAge, clock: cfg.Now, turn: make(chan struct{}, 1), copy: copied{d: d, versions: make(map[string]silenceRow)}}
	ask := func(store string) processor.QueryConfig {
		return processor.QueryConfig{Operator: operator, Store: store}
	}
	if q.generations, err = processor.NewQuery[uint64](client, t, ask("generation")); err != nil {
		return nil, err
	}
	if q.alerts, err = processor.NewQuery[known](client, t, ask("alerts")); err != nil {
		return nil, err
	}
	if q.groups, err = processor.NewQuery[Group](client, t, ask("groups")); err != nil {
		return nil, err
	}
	if q.log, err = processor.NewQuery[Entry](client, t, ask("log")); err != nil {
		return nil, err
	}
	q.silences, err = processor.NewQuery[silenceRow](client, t, ask("silences"))
	return q, err
}

// Look lets use look at a copy of the app's dispatcher. It must not keep or change it. The error wraps processor.ErrUnanswered if the app does
// not answer.
func (q *Inquiry) Look(ctx context.Context, use func(*Dispatcher, Freshness) error) error {
	select {
	case q.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("notify: wait for an answer of the app: %w", ctx.Err())
	}
	defer func() { <-q.turn }()
	if err := q.refresh(ctx); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	return use(q.copy.d, Freshness{q.copy.at, q.copy.generation})
}

// refresh reads what has changed, if that may be.
func (q *Inquiry) refresh(ctx context.Context) error {
	c := &q.copy
	now := q.clock()
	switch {
	case c.err != nil && now.Sub(c.failed) < q.maxAge:
		return c.err // those who have waited meanwhile do not wait once more
	case c.err == nil && !c.at.IsZero() && now.Sub(c.at) < max(q.maxAge, min(10*c.cost, maxStale)):
		return nil
	}
	if err := q.read(ctx); err != nil {
		c.err, c.failed = err, q.clock()
		return err
	}
	c.err, c.at = nil, now
	return nil
}

// maxReads is how often everything is read until no change comes in between. After that, alerts and groups may be of moments that are some
// changes apart. maxStale is how old answers get at the most because reading takes long.
const (
	maxReads = 2
	maxStale = 10 * time.Second
)

func (q *Inquiry) read(ctx context.Context) error {
	// All that Notify knows is in one partition: the one that has this key.
	where, err := q.generations.Get(ctx, everything)
	if err != nil {
		return err
	}
	for range maxReads {
		began := q.clock()
		before, err := q.generation(ctx, where.Partition)
		if err != nil {
			return err
		}
		if before == q.copy.generation && !q.copy.at.IsZero() {
			return nil
		}
		rows, err := q.rows(ctx, where.Partition)
		if err != nil {
			return err
		}
		q.copy.take(rows)
		after, err := q.generation(ctx, where.Partition)
		if err != nil {
			return err
		}
		q.copy.generation, q.copy.cost = before, q.clock().Sub(began)
		if before == after {
			return nil
		}
	}
	return nil
}

func (q *Inquiry) generation(ctx context.Context, partition int) (uint64, error) {
	a, err := q.generations.At(partition).Get(ctx, "")
	if err != nil || len(a.Rows) == 0 {
		return 0, err
	}
	return a.Rows[0].Value, nil
}

// stored are the rows of all stores.
type stored struct {
	alerts   map[string]known
	groups   map[string]Group
	log      map[string]Entry
	silences map[string]silenceRow
}

func (q *Inquiry) rows(ctx context.Context, partition int) (s stored, err error) {
	if s.alerts, err = rowsOf(ctx, q.alerts.At(partition)); err != nil {
		return s, err
	}
	if s.groups, err = rowsOf(ctx, q.groups.At(partition)); err != nil {
		return s, err
	}
	if s.log, err = rowsOf(ctx, q.log.At(partition)); err != nil {
		return s, err
	}
	s.silences, err = rowsOf(ctx, q.silences.At(partition))
	return s, err
}

func rowsOf[V any](ctx context.Context, q *processor.Query[V]) (map[string]V, error) {
	rows := make(map[string]V)
	for page, err := range q.Range(ctx, "", "") {
		if err != nil {
			return nil, err
		}
		for _, row := range page.Rows {
			rows[row.Key] = row.Value
		}
	}
	return rows, nil
}

// take makes the dispatcher what the stores have. What an alert has judged stays, where its labels are the same: all alerts by all silences
// take a while.
func (c *copied) take(s stored) {
	d := c.d
	for fingerprint, k := range d.alerts {
		row, ok := s.alerts[fingerprint]
		if ok && maps.Equal(row.Alert.Labels, k.Alert.Labels) {
			k.Alert, k.In, k.Begun, k.Updated = row.Alert, row.In, row.Begun, row.Updated
			delete(s.alerts, fingerprint)
			continue
		}
		d.unlink(k)
		delete(d.alerts, fingerprint)
	}
	for id, row := range s.silences {
		if had, ok := c.versions[id]; ok && had.Version == row.Version && had.removed() == row.removed() {
			continue
		}
		row.enforce(d, id)
		c.versions[id] = row
	}
	clear(d.groups)
	d.add(s)
	for fingerprint, k := range d.alerts {
		d.enter(fingerprint, k)
	}
}

func (r *silenceRow) removed() bool { return r.Silence == nil && r.Acknowledgement == nil }
