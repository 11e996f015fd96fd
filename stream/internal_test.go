package stream

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

func TestParsePosition(t *testing.T) {
	want := position{stream: 12, consumer: 7, stored: 1700000000123456789, pending: 3}
	for _, reply := range []string{
		"$JS.ACK.metrics-0.cons.1.12.7.1700000000123456789.3",
		"$JS.ACK._.acchash.metrics-0.cons.1.12.7.1700000000123456789.3",
		"$JS.ACK.hub.acchash.metrics-0.cons.1.12.7.1700000000123456789.3.rAnD0m",
	} {
		got, err := parsePosition(reply)
		require.NoError(t, err, reply)
		require.Equal(t, want, got, reply)
		require.Zero(t, testing.AllocsPerRun(10, func() { _, _ = parsePosition(reply) }))
	}
	for _, reply := range []string{
		"", "$JS.ACK.", "_INBOX.a.b.c.d.e.f.g.h", "$JS.ACK.s.c.1.12.7.1.3.4", "$JS.ACK.s.c.1.x.7.1.3", "$JS.ACK.s.c.1.0.7.1.3",
		"$JS.ACK.s.c.1.1.0.1.3", "$JS.ACK.s.c.1..7.1.3", "$JS.ACK..c.1.1.7.1.3", "$JS.ACK.s.c.1.99999999999999999999.7.1.3",
		"$JS.ACK.s.c.1.1.7.1.", "$JS.ACK.s.c.1.1.7.18446744073709551615.1",
	} {
		_, err := parsePosition(reply)
		require.ErrorIs(t, err, ErrBadReply, reply)
	}
}

// The hand-written parser and the NATS library's agree wherever both read.
func FuzzParsePosition(f *testing.F) {
	f.Add("$JS.ACK.metrics-0.cons.1.12.7.1700000000123456789.3")
	f.Add("$JS.ACK._.acchash.metrics-0.cons.1.12.7.1700000000123456789.3")
	f.Add("$JS.ACK.hub.acchash.metrics-0.cons.1.12.7.1700000000123456789.3.rAnD0m")
	f.Add("$JS.ACK.........")
	f.Fuzz(func(t *testing.T, reply string) {
		p, err := parsePosition(reply)
		if err != nil {
			require.ErrorIs(t, err, ErrBadReply)
			return
		}
		m := &nats.Msg{Reply: reply, Sub: &nats.Subscription{}}
		meta, err := m.Metadata()
		if err != nil {
			return
		}
		require.Equal(t, meta.Sequence.Stream, p.stream)
		require.Equal(t, meta.Sequence.Consumer, p.consumer)
		require.Equal(t, meta.NumPending, p.pending)
		require.Equal(t, meta.Timestamp.UnixNano(), p.stored)
	})
}

func FuzzParseAnswer(f *testing.F) {
	for _, s := range []string{
		`{"type":"ack","seq":100,"msgs":500}`,
		`{"type":"gap","last_seq":3,"seq":7}`,
		`{"type":"err","seq":7,"error":{"code":400,"err_code":10054,"description":"too large"}}`,
		`{"stream":"t-0","seq":9,"batch":"x","count":4}`,
		`{"error":{"code":400,"err_code":10208},"stream":"t-0","seq":0}`,
		`{}`, ``, `[]`, `{"type":"err"}`,
	} {
		f.Add(s, "id.500.fail.3.1.$FI")
	}
	f.Fuzz(func(t *testing.T, body, subject string) {
		a, ok := parseAnswer(&nats.Msg{Data: []byte(body)})
		if ok && a.kind == "err" {
			require.NotNil(t, a.err)
		}
		parseAnswerSubject(subject)
	})
}

func FuzzParseChunk(f *testing.F) {
	for _, s := range []string{"1/2", "2/2", "3/2", "0/2", "1/1", "x/y", "/", "", "1000/1000", "1001/1001"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		i, n, err := parseChunk(s)
		if err == nil {
			require.True(t, i >= 1 && i <= n && n >= 2 && n <= maxChunks)
		}
	})
}

func TestOlderThan(t *testing.T) {
	for have, older := range map[string]bool{
		"2.13.9": true, "2.14.0": false, "2.14.0-beta.1": false, "2.15.2": false, "v2.9.1": true, "3.0.0": false, "1.99.0": true, "": false, "dev": false, "2": false,
	} {
		require.Equal(t, older, olderThan(have, minServer), have)
	}
	require.ErrorContains(t, &ServerVersionError{Have: "2.13.0", Need: minServer}, "upgrade")
}

func TestHeadersSizeIsThatOnTheWire(t *testing.T) {
	h := Headers{"A": {"1", "22"}, "Long-Name": {""}}
	m := &nats.Msg{Header: h.nats()}
	withHeaders := m.Size()
	require.Positive(t, withHeaders)
	require.EqualValues(t, len("NATS/1.0\r\nA: 1\r\nA: 22\r\nLong-Name: \r\n\r\n"), h.size())
	require.Zero(t, Headers(nil).size())
}

func TestAnOfflinePeerComesBack(t *testing.T) {
	answer := func(why string) error {
		return fmt.Errorf("create: %w", &jetstream.APIError{Code: 400, ErrorCode: codeNoPeers, Description: "no suitable peers for placement" + why})
	}
	require.True(t, retryable(answer(", peer offline")))
	require.False(t, retryable(answer("")), "five replicas on three servers stay impossible")
}

func TestOnlyTheLeaderIsBelieved(t *testing.T) {
	peers := []*jetstream.PeerInfo{{Name: "b"}, {Name: "c"}}
	for _, c := range []struct {
		cluster *jetstream.ClusterInfo
		want    bool
	}{
		{nil, true},
		{&jetstream.ClusterInfo{Leader: "a"}, true},
		{&jetstream.ClusterInfo{Leader: "a", Replicas: peers}, true},
		{&jetstream.ClusterInfo{Leader: "b", Replicas: peers}, false},
		{&jetstream.ClusterInfo{Replicas: peers}, false},
	} {
		require.Equal(t, c.want, fromLeader(c.cluster), c.cluster)
	}
}

func FuzzMark(f *testing.F) {
	k := newProducerMarks()
	f.Add(k.prefix+"1", uint64(1))
	f.Add(k.prefix+"18446744073709551616", uint64(18446744073709551614))
	f.Add("", uint64(0))
	f.Fuzz(func(t *testing.T, mark string, n uint64) {
		if got := k.number(mark); got != 0 {
			require.True(t, strings.HasPrefix(mark, k.prefix))
		}
		h := k.headers(&outMsg{}, n, true)
		require.Equal(t, n+1, k.number(h.Get(MarkHeader)))
		require.LessOrEqual(t, Headers(h).size(), int64(markSize))
		given := nats.Header{"A": {"b"}}
		h = k.headers(&outMsg{headers: given}, n, true)
		require.Equal(t, n+1, k.number(h.Get(MarkHeader)))
		require.Equal(t, "b", h.Get("A"))
		require.Len(t, given, 1)
		other := newProducerMarks()
		require.Zero(t, other.number(h.Get(MarkHeader)), "of another producer")
		require.Nil(t, withoutMarks(Headers(k.headers(&outMsg{}, n, false)).Clone()))
	})
}

// Whatever was there before, each message has its own headers, and those that it is known by.
func TestMarks(t *testing.T) {
	own := nats.Header{"A": {"b"}}
	id := []string{"w/1/0"}
	for name, c := range map[string]struct {
		chain chain
		first nats.Header // of message 0, which opens a session
		next  nats.Header
	}{
		"ids":      {chain{}, nats.Header{"Nats-Msg-Id": id}, nats.Header{"Nats-Msg-Id": id}},
		"anchored": {chain{kind: anchored, after: 7}, nats.Header{"Nats-Msg-Id": id, "Nats-Expected-Last-Sequence": {"7"}}, nats.Header{"Nats-Msg-Id": id}},
		"chained": {
			chain{kind: chained, after: 7}, nats.Header{"Rossby-Chain": id, "Nats-Expected-Last-Sequence": {"7"}},
			nats.Header{"Nats-Expected-Last-Sequence": {"8"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := marks{chain: c.chain}
			for range 2 {
				require.Equal(t, c.first, k.headers(&outMsg{id: id[0]}, 0, true))
				require.Equal(t, c.next, k.headers(&outMsg{id: id[0]}, 1, false))
				with := k.headers(&outMsg{id: id[0], headers: own}, 1, false)
				require.Equal(t, "b", with.Get("A"))
				require.Len(t, with, len(c.next)+1)
				require.Len(t, own, 1)
			}
		})
	}
	var none marks
	require.Nil(t, none.headers(&outMsg{}, 0, true))
	require.Equal(t, own, none.headers(&outMsg{headers: own}, 0, true))
}

func FuzzRecordID(f *testing.F) {
	for _, s := range []string{"app/task/12/3", "a/1/2", "1/2", "/", "//", "a/b/-1/2", "a/1/18446744073709551616", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, ok := ParseRecordID(s)
		if !ok {
			return
		}
		again, ok := ParseRecordID(fmt.Sprintf("%s/%d/%d", id.Writer, id.Commit, id.Index))
		require.True(t, ok)
		require.Equal(t, id, again)
		require.False(t, id.After(id))
	})
}

// The ranks of all items at once are those that Standby gives one by one. Every member computes them after a change of members.
func TestFirstTwo(t *testing.T) {
	numbered := func(prefix string, n int) []string {
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprint(prefix, i)
		}
		return names
	}
	items := numbered("task-", 200)
	for _, n := range []int{0, 1, 2, 3, 50} {
		members := numbered("member-", n)
		ranks := firstTwo(members, items)
		for _, item := range items {
			first := Standby(members, item, "")
			want := [2]string{first}
			if n > 1 {
				want[1] = Standby(members, item, first)
			}
			require.Equal(t, want, ranks[item])
		}
	}
	members, many := numbered("member-", 1000), numbered("task-", 10_000)
	start := time.Now()
	firstTwo(members, many)
	t.Logf("ranks of 1,000 members for 10,000 items took %v", time.Since(start))
}
