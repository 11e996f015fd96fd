package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Message is one record as it is stored.
type Message struct {
	// Partition and Offset say where it is.
	Partition int
	Offset    uint64
	// Key is the unescaped key. A subject that a foreign client made up, and
	// that is no escaped key, is given as it is.
	Key string
	// Data and Headers are the reader's to keep. No Data in a compacted topic is a
	// tombstone: the key has no value any more.
	Data    []byte
	Headers Headers
	// Stored is when the server stored it.
	Stored time.Time
	// Pending is the number of messages that were behind this one when it was
	// delivered.
	Pending uint64
}

// ReaderConfig says where a Reader begins and where its messages go.
type ReaderConfig struct {
	// From is the offset to begin with. 0 and 1: the earliest that exists.
	From uint64
	// Made is when the partition was made that From is an offset of, as Reader.Made
	// says it, and Stored when the record before From was stored. A partition that was
	// made at another time is refused with a *RemadeError, unless that record is in
	// it: then it was restored from a backup. Zero: not known.
	Made, Stored time.Time
	// Deliver takes the messages, in order, from the reader's own goroutine.
	// While it blocks nothing more is read: that is the back-pressure. It must
	// return for Close to return. Required.
	Deliver func(Message)
	// Failed is called at most once, from the same goroutine, when nothing more
	// can be read: *OffsetGoneError, *RemadeError, *TopicNotFoundError, a closed
	// connection.
	// Not called because of Close. nil: nobody is told.
	Failed func(error)
}

// Reader hands the records of one partition to a function, in order, each once,
// across reconnects, server restarts and changes of leader. It keeps no state
// on the server.
type Reader struct {
	c      *Client
	spec   TopicSpec
	part   int
	made   time.Time
	handed atomic.Uint64 // offset of the last message whose Deliver has returned
	behind uint64        // what there was when it was opened
	cancel context.CancelFunc
	done   chan struct{}
	close  sync.Once
}

// OpenReader reads partition of the topic from cfg.From on. ctx bounds the
// opening; the reader runs until Close. An offset that retention has removed is
// an *OffsetGoneError, one beyond the end an *OffsetAheadError, one in a topic that
// has been made anew a *RemadeError, here or in cfg.Failed.
func (c *Client) OpenReader(ctx context.Context, spec TopicSpec, partition int, cfg ReaderConfig) (*Reader, error) {
	spec = spec.withDefaults()
	if err := spec.checkPartition(partition); err != nil {
		return nil, err
	}
	if cfg.Deliver == nil {
		return nil, errors.New("stream: ReaderConfig.Deliver is required")
	}
	r := &Reader{c: c, spec: spec, part: partition, done: make(chan struct{})}
	keys := spec.keyReader(partition)
	f := c.partitionFeed(spec, partition)
	if cfg.From > 1 {
		f.last, f.made = cfg.From-1, cfg.Made
		if !cfg.Stored.IsZero() {
			f.stored = cfg.Stored.UnixNano()
		}
		r.handed.Store(f.last)
	}
	f.handle = func(m *nats.Msg, p position) bool {
		key, headers := keys.read(m.Subject, Headers(m.Header))
		cfg.Deliver(Message{
			Partition: partition,
			Offset:    p.stream,
			Key:       key,
			Data:      m.Data,
			Headers:   headers,
			Stored:    p.time(),
			Pending:   p.pending,
		})
		r.handed.Store(p.stream)
		return true
	}
	f.attached = func(pending uint64) { r.behind = pending }
	err := f.open(ctx)
	f.attached = nil
	if err != nil {
		return nil, fmt.Errorf("stream: open reader of topic %q partition %d: %w", spec.Name, partition, err)
	}
	r.made = f.made
	run, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() {
		defer close(r.done)
		err := f.run(run)
		f.close()
		if err != nil && cfg.Failed != nil {
			cfg.Failed(fmt.Errorf("stream: reader of topic %q partition %d: %w", spec.Name, partition, err))
		}
	}()
	return r, nil
}

// Made is when the server had made the partition when it was opened: who keeps an
// offset should keep it, too.
func (r *Reader) Made() time.Time { return r.made }

// Behind is how many messages there were at or after ReaderConfig.From when the reader was opened.
func (r *Reader) Behind() uint64 { return r.behind }

// CaughtUp says whether every message that was stored before the call has been
// through Deliver. It asks the leader of the partition, so that the answer is
// exact; deleted messages do not count.
func (r *Reader) CaughtUp(ctx context.Context) (bool, error) {
	more, err := r.c.hasAfter(ctx, r.spec.BackingStream(r.part), r.handed.Load())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		err = &TopicNotFoundError{Topic: r.spec.Name, Partition: r.part}
	}
	if err != nil {
		return false, fmt.Errorf("stream: has the reader of topic %q partition %d caught up: %w", r.spec.Name, r.part, err)
	}
	return !more, nil
}

// Close ends reading and waits; no Deliver runs or begins after it has
// returned. Do not call it from Deliver or Failed. Further calls wait as well.
func (r *Reader) Close() {
	r.close.Do(r.cancel)
	<-r.done
}

func (s TopicSpec) checkPartition(p int) error {
	if err := s.Validate(); err != nil {
		return err
	}
	if p < 0 || p >= s.Partitions {
		return &SpecError{Topic: s.Name, Problems: []string{fmt.Sprintf("it has no partition %d, only 0 to %d", p, s.Partitions-1)}}
	}
	return nil
}

// partitionFeed reads a partition through a consumer that keeps no state.
func (c *Client) partitionFeed(spec TopicSpec, p int) *feed {
	f := c.ephemeralFeed(spec.BackingStream(p), jetstream.ConsumerConfig{})
	f.gapless = !spec.Compact // compaction leaves holes, at the beginning too
	f.errs = spec.feedErrors(p)
	return f
}

func (s TopicSpec) feedErrors(p int) feedErrors {
	return feedErrors{
		notFound: func() error { return &TopicNotFoundError{Topic: s.Name, Partition: p} },
		gone: func(wanted, first uint64) error {
			return &OffsetGoneError{Topic: s.Name, Partition: p, Wanted: wanted, First: first}
		},
		remade: func(was, is time.Time) error {
			return &RemadeError{Topic: s.Name, Partition: p, Was: was, Is: is}
		},
		ahead: func(wanted, next uint64) error {
			return &OffsetAheadError{Topic: s.Name, Partition: p, Wanted: wanted, Next: next}
		},
	}
}

// ephemeralFeed reads a backing stream; base may restrict what is delivered.
func (c *Client) ephemeralFeed(stream string, base jetstream.ConsumerConfig) *feed {
	f := &feed{c: c, stream: stream, ephemeral: true}
	f.attach = func(ctx context.Context, next uint64) (string, error) {
		cfg := base
		cfg.AckPolicy = jetstream.AckNonePolicy
		cfg.MemoryStorage = true
		cfg.Replicas = 1
		cfg.InactiveThreshold = time.Minute
		if next > 1 || cfg.OptStartTime == nil {
			cfg.DeliverPolicy = jetstream.DeliverByStartSequencePolicy
			cfg.OptStartSeq, cfg.OptStartTime = next, nil
		}
		cons, err := c.js.CreateConsumer(ctx, stream, cfg)
		if err != nil {
			return "", err
		}
		info := cons.CachedInfo()
		if f.attached != nil {
			f.attached(info.NumPending)
		}
		return info.Name, nil
	}
	return f
}

// hasAfter asks the leader of a backing stream whether it has a message after
// seq.
func (c *Client) hasAfter(ctx context.Context, stream string, seq uint64) (bool, error) {
	m, err := c.nextMsg(ctx, stream, seq+1)
	return m != nil, err
}

// storedMsg is what the leader answers about one message.
type storedMsg struct {
	Subject string    `json:"subject"`
	Seq     uint64    `json:"seq"`
	Hdrs    []byte    `json:"hdrs"`
	Data    []byte    `json:"data"`
	Time    time.Time `json:"time"`
}

// nextMsg gets the first message at or after seq from the leader; nil when there
// is none. The direct API would be cheaper, but followers answer it too.
func (c *Client) nextMsg(ctx context.Context, stream string, seq uint64) (*storedMsg, error) {
	req, err := json.Marshal(map[string]any{"seq": seq, "next_by_subj": ">"})
	if err != nil {
		return nil, err
	}
	return c.getMsg(ctx, stream, req)
}

// getMsg asks the leader for one message; nil when there is none.
func (c *Client) getMsg(ctx context.Context, stream string, req []byte) (*storedMsg, error) {
	var resp struct {
		Error   *jetstream.APIError `json:"error"`
		Message *storedMsg          `json:"message"`
	}
	err := c.ask(ctx, func(ctx context.Context) error {
		m, err := c.nc.RequestWithContext(ctx, c.api("STREAM.MSG.GET", stream), req)
		if err != nil {
			return err
		}
		resp.Error, resp.Message = nil, nil
		if err := json.Unmarshal(m.Data, &resp); err != nil {
			return fmt.Errorf("the answer about stream %s is not readable: %w", stream, err)
		}
		if resp.Error == nil || resp.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound {
			return nil
		}
		return resp.Error
	})
	if err != nil {
		return nil, err
	}
	return resp.Message, nil
}
