package api

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rossby-streams/rossby/alerting/internal/bucket"
	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/alerting/notify/silencebucket"
)

// silences are those in the bucket, and the acknowledgements beside them.
type silences struct {
	kv jetstream.KeyValue

	turn chan struct{} // who has taken it lists, or changes
	all  []kept
	read time.Time // zero: all must be read again
}

// kept is what the bucket has under a key.
type kept struct {
	notify.SilenceChange
	updated  time.Time
	revision uint64
}

// Bounds of the bucket: how long a list of it may be looked at again, and how many keys there may be; its feed refuses more.
const (
	listAge = time.Second
	maxKept = 10_000
)

var errMissing = &failure{http.StatusNotFound, errors.New("there is none of this ID")}

func openSilences(ctx context.Context, cfg Config) (*silences, error) {
	js, err := jetstream.New(cfg.Conn)
	if err != nil {
		return nil, err
	}
	kv, err := silencebucket.Bucket(ctx, js, silencebucket.Config{Bucket: cfg.Bucket})
	if err != nil {
		return nil, fmt.Errorf("open the bucket of silences: %w", err)
	}
	return &silences{kv: kv, turn: make(chan struct{}, 1)}, nil
}

// lock waits for the turn.
func (s *silences) lock(ctx context.Context) (unlock func(), err error) {
	select {
	case s.turn <- struct{}{}:
		return func() { <-s.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// list returns all that can be read.
func (s *silences) list(ctx context.Context) ([]kept, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return s.entries(ctx)
}

// entries are what the bucket has. What cannot be read is not in force either.
func (s *silences) entries(ctx context.Context) ([]kept, error) {
	if !s.read.IsZero() && time.Since(s.read) < listAge {
		return s.all, nil
	}
	began := time.Now()
	watch, err := s.kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return nil, fmt.Errorf("list the silences: %w", err)
	}
	defer bucket.EndWatch(watch)
	var all []kept
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("list the silences: %w", ctx.Err())
		case entry, ok := <-watch.Updates():
			switch {
			case !ok:
				return nil, errors.New("list the silences: the connection was closed")
			case entry == nil:
				s.all, s.read = all, began
				return all, nil
			}
			if k, err := parse(entry); err == nil {
				all = append(all, k)
			}
		}
	}
}

func parse(entry jetstream.KeyValueEntry) (kept, error) {
	change, err := silencebucket.Parse(entry.Key(), entry.Value())
	return kept{change, entry.Created(), entry.Revision()}, err
}

// get returns what there is of an ID; the error is errMissing if there is nothing.
func (s *silences) get(ctx context.Context, id string) (kept, error) {
	entry, err := s.kv.Get(ctx, id)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrInvalidKey):
		return kept{}, errMissing
	case err != nil:
		return kept{}, fmt.Errorf("read silence %s: %w", id, err)
	}
	k, err := parse(entry)
	if err != nil {
		return k, fail(http.StatusNotFound, "what is kept as %s is not in force: %w", id, err)
	}
	return k, nil
}

// attempts is how often an edit is made when others edit the same at the same time.
const attempts = 5

// edit makes of what there is of an ID what change says, and tries again if somebody else was faster. Nil removes it.
func (s *silences) edit(ctx context.Context, id string, change func(kept) (*notify.SilenceChange, error)) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	defer func() { s.read = time.Time{} }()
	for range attempts {
		had, err := s.get(ctx, id)
		if err != nil {
			return err
		}
		to, err := change(had)
		if err != nil {
			return err
		}
		if to == nil {
			err = s.kv.Delete(ctx, id, jetstream.LastRevision(had.revision))
		} else {
			err = s.put(ctx, *to, had.revision)
		}
		if !isConflict(err) {
			return err
		}
	}
	return fail(http.StatusConflict, "others edit %s all the time: try again", id)
}

func isConflict(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}

// put stores a change; revision is that of what it replaces, 0 if there is nothing.
func (s *silences) put(ctx context.Context, c notify.SilenceChange, revision uint64) error {
	if err := c.Validate(); err != nil {
		return fail(http.StatusBadRequest, "%w", err)
	}
	var what any = c.Silence
	if c.Acknowledgement != nil {
		what = c.Acknowledgement
	}
	data, err := json.Marshal(what, json.Deterministic(true))
	if err != nil {
		return fail(http.StatusBadRequest, "%s cannot be stored: %w", c.ID, err)
	}
	if len(data) > maxBody {
		return fail(http.StatusRequestEntityTooLarge, "%s has %d bytes: at most %d are taken", c.ID, len(data), maxBody)
	}
	if _, err = s.kv.Update(ctx, c.ID, data, revision); err != nil {
		return fmt.Errorf("store %s: %w", c.ID, err)
	}
	return nil
}

// create stores something new. What was over longer than retention ago is deleted, or all that is over if there is no room else.
func (s *silences) create(ctx context.Context, c notify.SilenceChange, retention time.Duration) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	defer func() { s.read = time.Time{} }()
	all, err := s.entries(ctx)
	if err != nil {
		return err
	}
	if len(all) >= maxKept {
		retention = 0
	}
	left, err := s.sweep(ctx, all, time.Now().Add(-retention))
	if err != nil {
		return err
	}
	if left >= maxKept {
		return fail(http.StatusBadRequest, "there are %d silences and acknowledgements: at most %d are taken, let some of them end", left, maxKept)
	}
	return s.put(ctx, c, 0)
}

// maxSweep is how much one request deletes.
const maxSweep = 100

func (s *silences) sweep(ctx context.Context, all []kept, before time.Time) (left int, err error) {
	swept := 0
	for i := range all {
		if swept == maxSweep || !all[i].ends().Before(before) {
			continue
		}
		err := s.kv.Delete(ctx, all[i].ID, jetstream.LastRevision(all[i].revision))
		if err != nil && !isConflict(err) {
			return len(all) - swept, fmt.Errorf("delete %s, which is over: %w", all[i].ID, err)
		}
		swept++
	}
	return len(all) - swept, nil
}

func (k *kept) ends() time.Time {
	if k.Silence != nil {
		return k.Silence.EndsAt
	}
	return k.Acknowledgement.ExpiresAt
}

// newID returns a random UUID, version 4.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it does not fail
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
