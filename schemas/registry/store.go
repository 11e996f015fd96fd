package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The keys of the bucket. A subject's state is one value, changed by compare-and-set; texts are kept under their hashes, written before
// the state that names them, and never changed.
const (
	subjectPrefix = "subject."
	textPrefix    = "text."
	topicPrefix   = "topic."
)

const (
	// history is how many states of each subject the bucket keeps: the most that a bucket can.
	history = 64
	// askTimeout bounds one request.
	askTimeout = 5 * time.Second
	// pause is how long to wait before asking again.
	pause = 10 * time.Millisecond
)

// subjectState is the value under a subject's key.
type subjectState struct {
	Compatibility Compatibility `json:"compatibility,omitzero"`
	Versions      []entry       `json:"versions"`
}

type entry struct {
	Number     int       `json:"number"`
	Text       string    `json:"text"` // the hash
	Registered time.Time `json:"registered"`
	Deleted    bool      `json:"deleted,omitzero"`
}

func (e entry) version(subject string, text []byte) Version {
	return Version{Subject: subject, Number: e.Number, Text: text, Registered: e.Registered, Deleted: e.Deleted}
}

// find gives a version; 0 is the latest.
func (s subjectState) find(number int) (entry, bool) {
	for _, e := range slices.Backward(s.Versions) {
		if e.Number == number || number == 0 && !e.Deleted {
			return e, true
		}
	}
	return entry{}, false
}

func textID(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func openBucket(ctx context.Context, js jetstream.JetStream, cfg Config) (jetstream.KeyValue, error) {
	want := jetstream.KeyValueConfig{
		Bucket: cfg.Bucket, Description: "JSON Schemas and their versions", History: history, Replicas: max(cfg.Replicas, 1),
		Storage: jetstream.FileStorage,
	}
	if cfg.Memory {
		want.Storage = jetstream.MemoryStorage
	}
	kv, err := js.KeyValue(ctx, cfg.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = js.CreateKeyValue(ctx, want)
		if errors.Is(err, jetstream.ErrBucketExists) { // somebody else was faster
			kv, err = js.KeyValue(ctx, cfg.Bucket)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("registry: open bucket %q: %w", cfg.Bucket, err)
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("registry: open bucket %q: %w", cfg.Bucket, err)
	}
	if have := status.Config().Replicas; cfg.Replicas != 0 && have != cfg.Replicas {
		return nil, &BucketError{cfg.Bucket, fmt.Sprintf("it has %d replicas, asked for %d (change it with: nats stream edit KV_%s --replicas %d)", have, cfg.Replicas, cfg.Bucket, cfg.Replicas)}
	}
	if status.TTL() != 0 {
		return nil, &BucketError{cfg.Bucket, fmt.Sprintf("it forgets after %v, and schemas are for ever (use another bucket)", status.TTL())}
	}
	return kv, nil
}

type store struct{ kv jetstream.KeyValue }

// ask makes one request.
func (s store) ask(ctx context.Context, what string, request func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if err := request(ctx); err != nil {
		return fmt.Errorf("registry: %s in bucket %q: %w", what, s.kv.Bucket(), err)
	}
	return nil
}

func (s store) get(ctx context.Context, key string) (jetstream.KeyValueEntry, error) {
	var e jetstream.KeyValueEntry
	err := s.ask(ctx, "read "+key, func(ctx context.Context) (err error) {
		e, err = s.kv.Get(ctx, key)
		return err
	})
	return e, err
}

// subject gives the state of a subject and its revision; the zero state and 0 where there is none.
func (s store) subject(ctx context.Context, subject string) (subjectState, uint64, error) {
	e, err := s.get(ctx, subjectPrefix+subject)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return subjectState{}, 0, nil
	}
	if err != nil {
		return subjectState{}, 0, err
	}
	var state subjectState
	if err := json.Unmarshal(e.Value(), &state); err != nil {
		return subjectState{}, 0, &BucketError{s.kv.Bucket(), fmt.Sprintf("the value of %s cannot be read: %v (nats kv history shows earlier ones)", e.Key(), err)}
	}
	for i, v := range state.Versions {
		if v.Number != i+1 {
			return subjectState{}, 0, &BucketError{s.kv.Bucket(), fmt.Sprintf("the value of %s has version %d in place %d (nats kv history shows earlier ones)", e.Key(), v.Number, i+1)}
		}
	}
	return state, e.Revision(), nil
}

// change applies fn to the state of a subject, again if somebody else has changed it meanwhile. fn says whether it has changed it.
func (s store) change(ctx context.Context, subject string, fn func(*subjectState) (bool, error)) error {
	for {
		state, revision, err := s.subject(ctx, subject)
		if err != nil {
			return err
		}
		changed, err := fn(&state)
		if err != nil || !changed {
			return err
		}
		data, err := json.Marshal(state)
		if err != nil {
			return fmt.Errorf("registry: subject %q: %w", subject, err)
		}
		err = s.ask(ctx, "write "+subjectPrefix+subject, func(ctx context.Context) (err error) {
			if revision == 0 {
				_, err = s.kv.Create(ctx, subjectPrefix+subject, data)
			} else {
				_, err = s.kv.Update(ctx, subjectPrefix+subject, data, revision)
			}
			return err
		})
		if !errors.Is(err, jetstream.ErrKeyExists) && !isStale(err) {
			return err
		}
		if err := wait(ctx); err != nil {
			return err
		}
	}
}

// isStale says that the revision was not the last one any more.
func isStale(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}

func wait(ctx context.Context) error {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return fmt.Errorf("registry: %w", ctx.Err())
	case <-t.C:
		return nil
	}
}

func (s store) putText(ctx context.Context, id string, text []byte) error {
	err := s.ask(ctx, "write "+textPrefix+id, func(ctx context.Context) error {
		_, err := s.kv.Create(ctx, textPrefix+id, text)
		return err
	})
	if errors.Is(err, jetstream.ErrKeyExists) {
		return nil
	}
	return err
}

// text gives a text that a state names. A replica may have the state and not have been asked for the text that was written before it: it
// is asked for some time.
func (s store) text(ctx context.Context, id string) ([]byte, error) {
	for deadline := time.Now().Add(askTimeout); ; {
		e, err := s.get(ctx, textPrefix+id)
		if err == nil {
			if textID(e.Value()) != id {
				return nil, &BucketError{s.kv.Bucket(), "the value of " + e.Key() + " was changed by hand (nats kv history shows the right one)"}
			}
			return e.Value(), nil
		}
		if !errors.Is(err, jetstream.ErrKeyNotFound) || time.Now().After(deadline) {
			return nil, err
		}
		if werr := wait(ctx); werr != nil {
			return nil, errors.Join(werr, err)
		}
	}
}

func (s store) tie(ctx context.Context, topic, subject string) error {
	return s.ask(ctx, "write "+topicPrefix+topic, func(ctx context.Context) error {
		_, err := s.kv.Put(ctx, topicPrefix+topic, []byte(subject))
		return err
	})
}

func (s store) tied(ctx context.Context, topic string) (string, error) {
	e, err := s.get(ctx, topicPrefix+topic)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return "", &NotFoundError{Topic: topic}
	}
	if err != nil {
		return "", err
	}
	return string(e.Value()), nil
}

// list gives what follows a prefix in the keys, in order.
func (s store) list(ctx context.Context, prefix string) ([]string, error) {
	keys := []string{}
	err := s.ask(ctx, "list "+prefix+">", func(ctx context.Context) error {
		lister, err := s.kv.ListKeysFiltered(ctx, prefix+">")
		if err != nil {
			return err
		}
		for key := range lister.Keys() {
			keys = append(keys, strings.TrimPrefix(key, prefix))
		}
		return ignoreClosed(lister.Stop())
	})
	slices.Sort(keys)
	return keys, err
}

// ignoreClosed takes a subscription that has ended by itself for one that was ended.
func ignoreClosed(err error) error {
	if errors.Is(err, nats.ErrBadSubscription) {
		return nil
	}
	return err
}
