// Package silencebucket brings silences from a key-value bucket to a running app, as package rulebucket does with rules. The key is the ID of a
// silence, the value its JSON, that of Alertmanager's API:
//
//	nats kv put silences disks '{"matchers":[{"name":"alertname","value":"DiskFull"}],"startsAt":"2026-01-31T12:00:00Z",
//	  "endsAt":"2026-01-31T14:00:00Z","createdBy":"ann","comment":"new disks"}'
//	nats kv get silences-status disks    # in force, or refused, and why
//	nats kv del silences disks
//
// A key that begins with AcknowledgementPrefix is an acknowledgement (notify.Acknowledgement), of one alert or of those that matchers select:
//
//	nats kv put silences ack.disk '{"fingerprint":"0123456789abcdef","owner":"ann","comment":"ordered",
//	  "createdAt":"2026-01-31T12:00:00Z","expiresAt":"2026-01-31T18:00:00Z"}'
package silencebucket

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/rossby-streams/rossby/alerting/internal/bucket"
	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/stream"
)

// AcknowledgementPrefix is what the keys of acknowledgements begin with; they are beside the silences.
const AcknowledgementPrefix = "ack."

// DefaultBucket is the name of the bucket if none is given.
const DefaultBucket = "silences"

// Config says what is brought where.
type Config struct {
	// Bucket is the name of the bucket. The statuses are in the one of that name with "-status" behind. Both are made if there are none,
	// with as many copies as Replicas says. Empty: "silences".
	Bucket   string
	Replicas int
	// Topic is where changes go, one made with notify.SilenceChanges. It is made if there is none. Required.
	Topic stream.Topic[notify.SilenceChange]
	// Logger is told of silences that are refused. Nil: nobody.
	Logger *zap.Logger
}

// Feed brings changes from a bucket to a topic. Its Run publishes changes when they come, until its context ends, and returns nil then.
type Feed = bucket.Feed

// Status is what has become of a silence, as the status bucket has it in JSON.
type Status = bucket.Status

// Bucket opens the bucket that cfg names, to edit it, and makes it if there is none.
func Bucket(ctx context.Context, js jetstream.JetStream, cfg Config) (jetstream.KeyValue, error) {
	return bucket.OpenBucket(ctx, js, cmp.Or(cfg.Bucket, DefaultBucket), cfg.Replicas)
}

// Open makes what is missing and publishes what has changed since the last time: when it returns, all that was in the bucket is in the
// topic or refused. Run goes on from there.
func Open(ctx context.Context, nc *nats.Conn, client *stream.Client, cfg Config) (*Feed, error) {
	cfg.Bucket = cmp.Or(cfg.Bucket, DefaultBucket)
	feed, err := bucket.Open(ctx, nc, client, bucket.Config{
		Bucket: cfg.Bucket, Replicas: cfg.Replicas, What: "silence", Topic: cfg.Topic.Spec(), Encode: encode, Decode: decode, Logger: cfg.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("silencebucket: %w", err)
	}
	return feed, nil
}

func encode(c bucket.Change, text []byte) ([]byte, error) {
	change := notify.SilenceChange{ID: c.Name}
	if !c.Removed {
		var err error
		if change, err = Parse(c.Name, text); err != nil {
			return nil, err
		}
	}
	change.Version = c.Version
	return json.Marshal(change)
}

// Parse reads what is kept under a key: a silence, or an acknowledgement. The Version is not set.
func Parse(key string, text []byte) (change notify.SilenceChange, err error) {
	change.ID = key
	if strings.HasPrefix(key, AcknowledgementPrefix) {
		change.Acknowledgement = &notify.Acknowledgement{}
		err = read(text, "acknowledgement", change.Acknowledgement)
	} else {
		change.Silence = &notify.Silence{}
		err = read(text, "silence", change.Silence)
	}
	if err != nil {
		return notify.SilenceChange{}, err
	}
	if s := change.Silence; s != nil && (s.CreatedBy == "" || s.Comment == "") {
		return notify.SilenceChange{}, errors.New("the silence needs createdBy and comment: say who and why")
	}
	if err = own(&change); err == nil {
		err = change.Validate()
	}
	return change, err
}

func read(text []byte, what string, to any) error {
	if err := json.Unmarshal(text, to, json.RejectUnknownMembers(true)); err != nil {
		return fmt.Errorf("the %s cannot be read: %w", what, err)
	}
	return nil
}

// own gives what was read the ID that it is kept as.
func own(c *notify.SilenceChange) error {
	what, id := "silence", (*string)(nil)
	if c.Silence != nil {
		id = &c.Silence.ID
	} else {
		what, id = "acknowledgement", &c.Acknowledgement.ID
	}
	if *id != "" && *id != c.ID {
		return fmt.Errorf("the %s is kept as %q and says that its ID is %q: leave id out", what, c.ID, *id)
	}
	*id = c.ID
	return nil
}

func decode(data []byte) (bucket.Change, error) {
	var c notify.SilenceChange
	err := json.Unmarshal(data, &c)
	return bucket.Change{Name: c.ID, Version: c.Version, Removed: c.Removed()}, err
}
