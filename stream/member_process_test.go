package stream_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rossby-streams/rossby/stream"
)

// memberEnv makes the test binary a member of a consumer group, which can be killed
// and stopped as a real process. Its value is a memberSpec.
const memberEnv = "ROSSBY_TEST_MEMBER"

// memberSpec says what such a process does.
type memberSpec struct {
	Name, URLs, Group string
	Replicas          int
	Session           time.Duration
	// Results: it stores its positions with its results, one message on
	// "results.<partition>" for each Poll, and begins where the last one says.
	Results bool
}

// memberEvent is what it says, one line each. All processes write to one pipe, which
// keeps their order.
type memberEvent struct {
	Who, Kind, Error string
	Part             int
	First, Next      uint64
}

type result struct {
	First, Next uint64
	Who         string
	At          time.Time
}

type memberProcess struct {
	memberSpec
	js  jetstream.JetStream
	k   *stream.Consumer[string]
	seq map[int]uint64 // of the last result of a partition
	// todo are positions that are to be committed, polls how many Polls they are of.
	todo  map[int]uint64
	polls int
}

const (
	// pollsPerCommit leaves something to be read again when a member dies.
	pollsPerCommit = 5
	// workTime is what the results of a Poll cost.
	workTime = 3 * time.Millisecond
)

func (m *memberProcess) say(e memberEvent) {
	e.Who = m.Name
	data, err := json.Marshal(e)
	if err == nil {
		_, err = os.Stdout.Write(append(data, '\n'))
	}
	if err != nil {
		os.Exit(3)
	}
}

func memberMain(text string) {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(4) // nobody is left to talk to
	}()
	m := memberProcess{seq: make(map[int]uint64), todo: make(map[int]uint64)}
	err := json.Unmarshal([]byte(text), &m.memberSpec)
	if err == nil {
		err = m.run()
	}
	if err != nil {
		m.say(memberEvent{Kind: "failed", Error: err.Error()})
		os.Exit(1)
	}
}

func (m *memberProcess) run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	nc, err := nats.Connect(m.URLs, reconnecting()...)
	if err != nil {
		return err
	}
	defer nc.Close()
	c, err := stream.NewClient(nc, stream.Config{Replicas: m.Replicas})
	if err != nil {
		return err
	}
	if m.js, err = jetstream.New(nc); err != nil {
		return err
	}
	m.k, err = stream.NewConsumer(ctx, c, numbers, stream.ConsumerConfig{
		Group: m.Group, SessionTimeout: m.Session, MaxPollRecords: 50,
		OnAssigned: m.assigned,
		OnLost: func(_ context.Context, parts []int) error {
			for _, p := range parts {
				delete(m.todo, p)
				m.say(memberEvent{Kind: "lost", Part: p})
			}
			return nil
		},
		OnRevoked: func(ctx context.Context, _ []int) error { return m.commit(ctx) },
	})
	if err != nil {
		return err
	}
	defer m.k.Close()
	for ctx.Err() == nil {
		soon, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		records, err := m.k.Poll(soon)
		cancel()
		switch {
		case err != nil && ctx.Err() != nil:
			return nil
		case errors.Is(err, context.DeadlineExceeded):
			if err := m.commit(context.WithoutCancel(ctx)); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		first, last := records[0], records[len(records)-1]
		for i, r := range records {
			if r.Err != nil || r.Offset != first.Offset+uint64(i) {
				return errors.New("a hole, or a record that is broken, behind " + strconv.FormatUint(first.Offset, 10))
			}
		}
		e := memberEvent{Kind: "read", Part: first.Partition, First: first.Offset, Next: last.Offset + 1}
		m.say(e)
		<-time.After(workTime)
		if m.Results {
			err = m.store(context.WithoutCancel(ctx), e)
		} else {
			m.todo[e.Part] = e.Next
			if m.polls++; m.polls%pollsPerCommit == 0 {
				err = m.commit(context.WithoutCancel(ctx))
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *memberProcess) assigned(ctx context.Context, parts []stream.Assignment) error {
	for i := range parts {
		p := &parts[i]
		if m.Results {
			last, err := m.last(context.WithoutCancel(ctx), p.Partition) // Poll has a tenth of a second
			if err != nil {
				return err
			}
			p.Next = max(last.Next, 1)
		}
		m.say(memberEvent{Kind: "assigned", Part: p.Partition, Next: p.Next})
	}
	return nil
}

// last reads the last result of a partition.
func (m *memberProcess) last(ctx context.Context, p int) (last result, err error) {
	err = insist(ctx, func() error {
		s, err := m.js.Stream(ctx, "results")
		if err != nil {
			return err
		}
		msg, err := s.GetLastMsgForSubject(ctx, "results."+strconv.Itoa(p))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			m.seq[p] = 0
			return nil
		}
		if err != nil {
			return err
		}
		m.seq[p] = msg.Sequence
		return json.Unmarshal(msg.Data, &last)
	})
	return last, err
}

// commit commits what was read; what is lost waits for OnLost.
func (m *memberProcess) commit(ctx context.Context) error {
	if len(m.todo) == 0 {
		return nil
	}
	var lost *stream.ClaimLostError
	err := insist(ctx, func() error { return m.k.Commit(ctx) })
	if errors.As(err, &lost) {
		m.say(memberEvent{Kind: "refused", Error: err.Error()})
		return nil
	}
	if err != nil {
		return err
	}
	for p, next := range m.todo {
		m.say(memberEvent{Kind: "committed", Part: p, Next: next})
	}
	clear(m.todo)
	return nil
}

// store writes a result, unless somebody else has written one.
func (m *memberProcess) store(ctx context.Context, e memberEvent) error {
	mine := result{First: e.First, Next: e.Next, Who: m.Name, At: time.Now()}
	data, err := json.Marshal(mine)
	if err != nil {
		return err
	}
	refused := false
	err = insist(ctx, func() error {
		ack, err := m.js.Publish(ctx, "results."+strconv.Itoa(e.Part), data, jetstream.WithExpectLastSequencePerSubject(m.seq[e.Part]), jetstream.WithRetryAttempts(0))
		if err == nil {
			m.seq[e.Part] = ack.Sequence
			return nil
		}
		var api *jetstream.APIError
		if !errors.As(err, &api) || api.ErrorCode != jetstream.JSErrCodeStreamWrongLastSequence {
			return err
		}
		last, err := m.last(ctx, e.Part)
		if err != nil {
			return err
		}
		if last.Who == mine.Who && last.First == mine.First && last.At.Equal(mine.At) {
			return nil // only the answer was lost
		}
		refused = true
		e.Next = max(last.Next, 1)
		return nil
	})
	if err != nil {
		return err
	}
	if !refused {
		m.say(memberEvent{Kind: "committed", Part: e.Part, Next: e.Next})
		return nil
	}
	m.say(memberEvent{Kind: "refused", Part: e.Part, First: e.First, Next: e.Next})
	var lost *stream.ClaimLostError
	err = m.k.Seek(ctx, e.Part, e.Next)
	if errors.As(err, &lost) {
		return nil
	}
	m.say(memberEvent{Kind: "seek", Part: e.Part, Next: e.Next})
	return err
}

// insist tries again while servers come and go.
func insist(ctx context.Context, f func() error) error {
	var lost *stream.ClaimLostError
	for {
		err := f()
		if err == nil || errors.As(err, &lost) || errors.Is(err, stream.ErrClosed) {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}
