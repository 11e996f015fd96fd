package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"go.uber.org/zap"
)

const (
	metaJournal = "rossby.journal"
	// chunkHeader, "2/3" for example, is on every message of an entry that did
	// not fit into one.
	chunkHeader = "Rossby-Chunk"
	// appendHeader names the append that a message belongs to, so that an owner
	// recognises its own after a lost acknowledgement.
	appendHeader = "Rossby-Append"

	batchIDHeader     = "Nats-Batch-Id"
	batchSeqHeader    = "Nats-Batch-Sequence"
	batchCommitHeader = "Nats-Batch-Commit"

	// headerRoom is kept free in each message for the headers above.
	headerRoom = 512
	// maxChunks is the server's limit for an atomic batch.
	maxChunks = 1000
	// stageBytes is how much of a batch is under way without an answer.
	stageBytes = 1 << 20
)

// Entry is one entry of a journal.
type Entry struct {
	// Seq is its position: the sequence of its last message. Positions grow, and
	// not always by one.
	Seq uint64
	// Stored is when the server stored it. Append leaves it at the time of the
	// acknowledgement as the client's clock has it.
	Stored time.Time
	// Pending is how many messages the server had behind it when it was read.
	Pending uint64
	// Data are the bytes that were appended.
	Data []byte
}

// Journal is the commit log of one owner. The server accepts an append only if
// nobody else has appended since: an owner that has been replaced, and does not
// know it yet, fails with ErrFenced and nothing of what it wrote is stored.
//
// A Journal is not safe for concurrent use. Replay comes first.
type Journal struct {
	c       *Client
	name    string
	subject string
	writer  string // this owner, in appendHeader
	appends uint64

	replayed bool
	head     uint64 // sequence of the last message that this owner knows of
	spans    []span // entries of more than one message, oldest first
	followed replay // what Follow has handed over
}

// span is the extent of an entry of several messages.
type span struct{ first, last uint64 }

func journalSubject(name string) string { return "_rossby.journal." + name }

func checkJournalName(name string) error {
	if problem := nameProblem(name); problem != "" {
		return &NameError{Kind: "journal", Name: name, Problem: "it " + problem}
	}
	return nil
}

// OpenJournal gives the journal of that name and creates it when it is missing,
// with the client's Replicas and Storage. The name follows the rules of topic
// names. A journal to whose stream somebody has given limits by which the server
// drops entries is refused. Call Replay next.
func (c *Client) OpenJournal(ctx context.Context, name string) (*Journal, error) {
	if err := checkJournalName(name); err != nil {
		return nil, err
	}
	cfg := jetstream.StreamConfig{
		Name:               name,
		Description:        "Rossby journal " + name,
		Subjects:           []string{journalSubject(name)},
		Retention:          jetstream.LimitsPolicy,
		Discard:            jetstream.DiscardNew,
		Storage:            c.cfg.Storage.jetstream(),
		Replicas:           c.cfg.Replicas,
		AllowDirect:        true,
		AllowAtomicPublish: true,
		Metadata:           map[string]string{metaJournal: name, metaVersion: layoutVersion},
	}
	for {
		info, err := c.streamInfo(ctx, name)
		if err == nil {
			meta := info.Config.Metadata
			if meta[metaJournal] != name {
				return nil, &JournalError{Journal: name, Err: errors.New("a stream of that name exists and is no journal (choose another name)")}
			}
			if meta[metaVersion] != layoutVersion {
				return nil, &JournalError{Journal: name, Err: fmt.Errorf("it has layout version %s, this program reads version %s (upgrade it)", meta[metaVersion], layoutVersion)}
			}
			if err := keepsAll(&info.Config); err != nil {
				return nil, &JournalError{Journal: name, Err: err}
			}
			break
		}
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil, &JournalError{Journal: name, Err: err}
		}
		err = c.ask(ctx, func(ctx context.Context) error {
			_, err := c.js.CreateStream(ctx, cfg)
			return err
		})
		if err == nil {
			break
		}
		if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return nil, &JournalError{Journal: name, Err: fmt.Errorf("create it: %w", err)}
		}
	}
	return &Journal{c: c, name: name, subject: journalSubject(name), writer: nuid.Next()}, nil
}

// keepsAll makes sure that nobody has given the stream a limit by which the server drops entries. One by which it refuses new ones
// is not for us to judge.
func keepsAll(cfg *jetstream.StreamConfig) error {
	refuses := cfg.Discard == jetstream.DiscardNew
	for _, l := range []struct {
		name  string
		limit any
		drops bool
	}{
		{"max_age", cfg.MaxAge, cfg.MaxAge > 0},
		{"max_msgs", cfg.MaxMsgs, cfg.MaxMsgs > 0 && !refuses},
		{"max_bytes", cfg.MaxBytes, cfg.MaxBytes > 0 && !refuses},
		{"max_msgs_per_subject", cfg.MaxMsgsPerSubject, cfg.MaxMsgsPerSubject > 0 && !(refuses && cfg.DiscardNewPerSubject)},
		{"retention", cfg.Retention, cfg.Retention != jetstream.LimitsPolicy},
	} {
		if l.drops {
			return fmt.Errorf("its stream has a %s of %v: the server may drop entries that are needed (edit the stream: no such limit, discard policy new)", l.name, l.limit)
		}
	}
	return nil
}

// JournalMessages gives how many messages a journal holds: 0 for an empty one and for one that does not exist, more if there is something
// to replay.
func (c *Client) JournalMessages(ctx context.Context, name string) (uint64, error) {
	if err := checkJournalName(name); err != nil {
		return 0, err
	}
	info, err := c.streamInfo(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, &JournalError{Journal: name, Err: err}
	}
	return info.State.Msgs, nil
}

// JournalTail gives how the last entry of a journal begins, up to what one message holds, and nil for one that is empty or does not exist.
func (c *Client) JournalTail(ctx context.Context, name string) ([]byte, error) {
	if err := checkJournalName(name); err != nil {
		return nil, err
	}
	m, err := c.journalTail(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) || err == nil && m == nil {
		return nil, nil
	}
	if err != nil {
		return nil, &JournalError{Journal: name, Err: fmt.Errorf("read its last entry: %w", err)}
	}
	return m.Data, nil
}

// journalTail gets the first message of the last entry; nil: there is none.
func (c *Client) journalTail(ctx context.Context, name string) (*storedMsg, error) {
	req, err := json.Marshal(map[string]string{"last_by_subj": journalSubject(name)})
	if err != nil {
		return nil, err
	}
	m, err := c.getMsg(ctx, name, req)
	if err != nil || m == nil {
		return nil, err
	}
	mark := headerValue(m.Hdrs, chunkHeader)
	if mark == "" {
		return m, nil
	}
	n, _, err := parseChunk(mark)
	if err != nil {
		return nil, err
	}
	return c.nextMsg(ctx, name, m.Seq-min(m.Seq, uint64(n))+1)
}

// DeleteJournal removes a journal and all its entries. A missing one is no
// error.
func (c *Client) DeleteJournal(ctx context.Context, name string) error {
	if err := checkJournalName(name); err != nil {
		return err
	}
	info, err := c.streamInfo(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err == nil && info.Config.Metadata[metaJournal] != name {
		err = errors.New("the stream of that name is no journal")
	}
	if err == nil {
		// Purged first, because nats-server 2.15 removes files in the background:
		// a stream that is deleted, made and deleted again within a moment keeps
		// its old files, and the next one of that name would have their entries.
		err = c.ask(ctx, func(ctx context.Context) error {
			s, err := c.js.Stream(ctx, name)
			if err != nil {
				return err
			}
			if err := s.Purge(ctx); err != nil {
				return err
			}
			return c.js.DeleteStream(ctx, name)
		})
	}
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return &JournalError{Journal: name, Err: fmt.Errorf("delete it: %w", err)}
	}
	return nil
}

// Journals gives the names of all journals that this connection can see, in order.
func (c *Client) Journals(ctx context.Context) ([]string, error) {
	var found []string
	err := c.ask(ctx, func(ctx context.Context) error {
		found = found[:0]
		streams := c.js.ListStreams(ctx, jetstream.WithStreamListSubject(journalSubject("*")))
		for info := range streams.Info() {
			if name := info.Config.Name; info.Config.Metadata[metaJournal] == name {
				found = append(found, name)
			}
		}
		return streams.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("stream: list journals: %w", err)
	}
	slices.Sort(found)
	return found, nil
}

// First gives the position of the oldest message that the journal holds: entries
// before it have been trimmed.
func (j *Journal) First(ctx context.Context) (uint64, error) {
	info, err := j.c.knownInfo(ctx, j.name)
	if err != nil {
		return 0, &JournalError{Journal: j.name, Err: fmt.Errorf("ask where it begins: %w", err)}
	}
	return info.State.FirstSeq, nil
}

// Name is the journal's name.
func (j *Journal) Name() string { return j.name }

// Head is the position of the last entry that this owner has replayed or
// appended; 0 for an empty journal.
func (j *Journal) Head() uint64 { return j.head }

// Append adds an entry if this owner's last one is still the journal's last, and
// returns when the server has stored it. Data larger than the server's maximum
// goes as one atomic batch: all or nothing as well. A lost acknowledgement is
// resolved by looking; while the server cannot be reached Append tries on until
// ctx ends. The error matches ErrFenced when another owner has appended, and is a
// *RewoundError when the journal ends before what this one has appended. When ctx
// ends it is unknown whether the entry was stored: drop the Journal, open and
// replay it again.
func (j *Journal) Append(ctx context.Context, data []byte) (Entry, error) {
	if !j.replayed {
		return Entry{}, &JournalError{Journal: j.name, Err: ErrNotReplayed}
	}
	msgs, err := j.messages(data)
	if err != nil {
		return Entry{}, err
	}
	var b backoff
	var told bool
	var last error // what the server said
	for patience := ackTimeout; ; patience = min(2*patience, askTimeout) {
		seq, err := j.send(ctx, msgs, patience)
		if err == nil {
			return j.accept(seq, len(msgs), data), nil
		}
		last = typed(j.c.answer(ctx, err, last))
		j.c.log.Debug("append is in doubt", zap.String("journal", j.name), zap.Error(err))
		if !told && (errors.Is(last, ErrSilent) || errors.As(last, new(*StorageError))) {
			told = true
			j.c.log.Warn("an append waits: the server has no room or does not answer", zap.String("journal", j.name), zap.Error(last))
		}
		// Whatever went wrong, the journal itself knows the outcome.
		mine, moved, lerr := j.lookup(ctx, msgs)
		if lerr != nil {
			return Entry{}, &JournalError{Journal: j.name, Err: fmt.Errorf("append: %w (after: %w)", lerr, last)}
		}
		if mine != 0 && !moved {
			return j.accept(mine, len(msgs), data), nil
		}
		if moved {
			return Entry{}, j.fenced(ctx)
		}
		if api := (*jetstream.APIError)(nil); errors.As(err, &api) && misplaced(api) {
			if _, err := j.last(ctx); err != nil {
				return Entry{}, err
			}
		}
		if refused(err) {
			return Entry{}, &JournalError{Journal: j.name, Err: fmt.Errorf("append %d bytes: %w", len(data), err)}
		}
		if werr := b.wait(ctx); werr != nil {
			return Entry{}, &JournalError{Journal: j.name, Err: fmt.Errorf("append: %w (last answer: %w)", werr, last)}
		}
	}
}

// refused says whether the server will refuse the same append again. A wrong
// last sequence with an unchanged head passes: a leader counted an append that
// it then failed to replicate.
func refused(err error) bool {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrMaxPayload)
	}
	return permanent(api)
}

func (j *Journal) accept(seq uint64, n int, data []byte) Entry {
	if n > 1 {
		j.spans = append(j.spans, span{first: seq - uint64(n) + 1, last: seq})
	}
	j.head = seq
	return Entry{Seq: seq, Stored: time.Now(), Data: data}
}

// messages cuts data into as many messages as it takes, one as a rule.
func (j *Journal) messages(data []byte) ([]*nats.Msg, error) {
	limit := int(j.c.MaxPayload()) - headerRoom
	if limit <= 0 {
		return nil, &JournalError{Journal: j.name, Err: fmt.Errorf("the server's max_payload of %d bytes is too small for any entry", j.c.MaxPayload())}
	}
	n := max((len(data)+limit-1)/limit, 1)
	if n > maxChunks {
		return nil, &JournalError{Journal: j.name, Err: fmt.Errorf("an entry of %d bytes is more than %d messages of %d bytes (raise max_payload on the server)", len(data), maxChunks, limit)}
	}
	j.appends++
	id := j.writer + "-" + strconv.FormatUint(j.appends, 10)
	msgs := make([]*nats.Msg, n)
	for i := range msgs {
		m := &nats.Msg{Subject: j.subject, Data: data[:min(limit, len(data))], Header: nats.Header{appendHeader: {id}}}
		data = data[len(m.Data):]
		if n > 1 {
			m.Header[chunkHeader] = []string{strconv.Itoa(i+1) + "/" + strconv.Itoa(n)}
		}
		msgs[i] = m
	}
	msgs[0].Header[jetstream.ExpectedLastSeqHeader] = []string{strconv.FormatUint(j.head, 10)}
	return msgs, nil
}

// send makes one attempt and gives the sequence of the last message. patience bounds the wait for each answer.
func (j *Journal) send(ctx context.Context, msgs []*nats.Msg, patience time.Duration) (uint64, error) {
	if err := j.stage(ctx, msgs, patience); err != nil {
		return 0, err
	}
	resp, err := j.request(ctx, msgs[len(msgs)-1], patience)
	if err != nil {
		return 0, err
	}
	var ack struct {
		Seq   uint64              `json:"seq"`
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(resp.Data, &ack); err != nil {
		return 0, fmt.Errorf("the acknowledgement is not readable: %w", err)
	}
	if ack.Error != nil {
		return 0, ack.Error
	}
	if want := j.head + uint64(len(msgs)); ack.Seq != want {
		return 0, fmt.Errorf("the acknowledgement is for sequence %d, not %d", ack.Seq, want)
	}
	return ack.Seq, nil
}

func (j *Journal) request(ctx context.Context, m *nats.Msg, patience time.Duration) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return j.c.nc.RequestMsgWithContext(ctx, m)
}

// stage sends the messages of a batch but for the last one, which commits it. The
// first one is answered, which tells early whether the server takes the batch, and
// then one every stageBytes: a line may be slow, a server has only so much room for
// what it has not worked off, and neither may look like a server that is silent.
func (j *Journal) stage(ctx context.Context, msgs []*nats.Msg, patience time.Duration) error {
	if len(msgs) == 1 {
		return nil
	}
	// Every attempt is a batch of its own; the server drops the remains of
	// one that was never committed.
	id := nuid.Next()
	for i, m := range msgs {
		m.Header[batchIDHeader] = []string{id}
		m.Header[batchSeqHeader] = []string{strconv.Itoa(i + 1)}
	}
	msgs[len(msgs)-1].Header[batchCommitHeader] = []string{"1"}
	unanswered := stageBytes
	for _, m := range msgs[:len(msgs)-1] {
		var err error
		if unanswered += len(m.Data); unanswered >= stageBytes {
			unanswered, err = 0, j.stageOne(ctx, m, patience)
		} else {
			err = j.c.nc.PublishMsg(m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// stageOne sends a message of a batch that does not commit it, and waits for the answer.
func (j *Journal) stageOne(ctx context.Context, m *nats.Msg, patience time.Duration) error {
	resp, err := j.request(ctx, m, patience)
	if err != nil || len(resp.Data) == 0 {
		return err
	}
	var ack struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(resp.Data, &ack); err != nil {
		return fmt.Errorf("the acknowledgement is not readable: %w", err)
	}
	if ack.Error != nil {
		return ack.Error
	}
	return nil
}

// lookup asks the journal's leader what came after the head that this owner
// knows. mine is the position of this very append, 0 when it is not there;
// moved says that somebody else's message follows.
func (j *Journal) lookup(ctx context.Context, msgs []*nats.Msg) (mine uint64, moved bool, err error) {
	m, err := j.c.nextMsg(ctx, j.name, j.head+1)
	if err != nil || m == nil {
		return 0, false, err
	}
	if headerValue(m.Hdrs, appendHeader) != msgs[0].Header[appendHeader][0] || m.Seq != j.head+1 {
		return 0, true, nil
	}
	mine = j.head + uint64(len(msgs))
	after, err := j.c.nextMsg(ctx, j.name, mine+1)
	return mine, after != nil, err
}

// headerValue finds a header in the bytes that the server stores.
func headerValue(hdrs []byte, name string) string {
	if len(hdrs) == 0 {
		return ""
	}
	h, err := nats.DecodeHeadersMsg(hdrs)
	if err != nil {
		return ""
	}
	return h.Get(name)
}

// fenced makes the error with the head that the journal has now.
func (j *Journal) fenced(ctx context.Context) error {
	e := &FencedError{Journal: j.name, Expected: j.head}
	if info, err := j.c.streamInfo(ctx, j.name); err == nil {
		e.Actual = info.State.LastSeq
	}
	return e
}

// Verify asks the journal's leader for its head: nil if it is still this
// owner's, an error that matches ErrFenced if another owner has appended, and a
// *RewoundError if it is before what this owner has appended.
func (j *Journal) Verify(ctx context.Context) error {
	if !j.replayed {
		return &JournalError{Journal: j.name, Err: ErrNotReplayed}
	}
	last, err := j.last(ctx)
	if err == nil && last > j.head {
		return &FencedError{Journal: j.name, Expected: j.head, Actual: last}
	}
	return err
}

// last asks for the journal's head. The error is a *RewoundError when that is before this owner's. A leader that has just become one
// may not know all that is stored, so it must say so for a while.
func (j *Journal) last(ctx context.Context) (uint64, error) {
	var b backoff
	since := time.Now()
	for asked := 1; ; asked++ {
		info, err := j.c.knownInfo(ctx, j.name)
		if err != nil {
			return 0, &JournalError{Journal: j.name, Err: fmt.Errorf("read its head: %w", err)}
		}
		last := info.State.LastSeq
		if last >= j.head {
			return last, nil
		}
		if asked >= notFoundLimit && time.Since(since) >= j.c.settle() {
			return last, &RewoundError{Journal: j.name, Head: j.head, Last: last}
		}
		if err := b.wait(ctx); err != nil {
			return last, &JournalError{Journal: j.name, Err: fmt.Errorf("read its head: %w", err)}
		}
	}
}

// Trim removes the entries before that position. The last entry always stays,
// and so does every entry whole.
func (j *Journal) Trim(ctx context.Context, before uint64) error {
	if !j.replayed {
		return &JournalError{Journal: j.name, Err: ErrNotReplayed}
	}
	before = min(before, j.head)
	dead := 0
	for _, s := range j.spans {
		if s.last < before {
			dead++
		} else if s.first < before {
			before = s.first
			break
		}
	}
	if before <= 1 {
		return nil
	}
	err := j.c.ask(ctx, func(ctx context.Context) error {
		s, err := j.c.js.Stream(ctx, j.name)
		if err != nil {
			return err
		}
		return s.Purge(ctx, jetstream.WithPurgeSequence(before))
	})
	if err != nil {
		return &JournalError{Journal: j.name, Err: fmt.Errorf("trim it: %w", err)}
	}
	j.spans = j.spans[dead:]
	return nil
}
