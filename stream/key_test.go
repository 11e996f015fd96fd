package stream_test

import (
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

var awkwardKeys = []string{
	"", ".", "..", "a.", ".a", "a..b", "a...b", "..a..", "%", "%%", "%2E", "%41", "*", ">", "a.*.b", "a.>", " ", "a b",
	"\t", "\r\n", "\x00", "\x7f", "\xff", "a\xff.b", "é", "日本.語", "\u00a0", "eu.web-042", "a/b\\c", "$JS.x", "_INBOX.1", "-", "\xe6\x97",
}

func TestEscapeKeyExamples(t *testing.T) {
	for key, want := range map[string]string{
		"":           "%",
		"eu.web-042": "eu.web-042",
		"a b":        "a%20b",
		"a..b":       "a.%2Eb",
		".a.":        "%2Ea%2E",
		"*.>":        "%2A.%3E",
		"100%":       "100%25",
		"日本":         "日本",
		"a\xff":      "a%FF",
	} {
		require.Equal(t, want, stream.EscapeKey(key), "%q", key)
	}
}

func checkKey(t require.TestingT, key string) {
	token := stream.EscapeKey(key)
	back, err := stream.UnescapeKey(token)
	require.NoError(t, err)
	require.Equal(t, key, back, "via %q", token)
	for _, part := range strings.Split(token, ".") {
		require.NotEmpty(t, part, "an empty token in %q", token)
		require.NotEqual(t, "*", part)
		require.NotEqual(t, ">", part)
	}
	require.True(t, utf8.ValidString(token))
	require.Equal(t, -1, strings.IndexFunc(token, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '*' || r == '>' }), "%q", token)
	for _, n := range []int{1, 2, 7, 64} {
		p := stream.Partition(key, n)
		require.True(t, p >= 0 && p < n)
	}
}

func TestEscapeKeyRoundTrip(t *testing.T) {
	for _, key := range awkwardKeys {
		checkKey(t, key)
	}
	rapid.Check(t, func(t *rapid.T) {
		any := rapid.OneOf(
			rapid.String(),
			rapid.StringOf(rapid.SampledFrom([]rune(".%*> aé\x00"))),
			rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
		)
		a, b := any.Draw(t, "a"), any.Draw(t, "b")
		checkKey(t, a)
		if a != b {
			require.NotEqual(t, stream.EscapeKey(a), stream.EscapeKey(b))
		}
	})
}

func FuzzEscapeKey(f *testing.F) {
	for _, key := range awkwardKeys {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) { checkKey(t, key) })
}

func FuzzUnescapeKey(f *testing.F) {
	for _, key := range awkwardKeys {
		f.Add(key)
		f.Add(stream.EscapeKey(key))
	}
	f.Fuzz(func(t *testing.T, token string) {
		key, err := stream.UnescapeKey(token)
		if err != nil {
			require.ErrorIs(t, err, stream.ErrBadKey)
			return
		}
		checkKey(t, key)
	})
}

func TestUnescapeKeyRefusesStrayPercents(t *testing.T) {
	for _, token := range []string{"", "a%", "%4", "%zz", "%2e", "100%", "a.%"} {
		_, err := stream.UnescapeKey(token)
		require.ErrorIs(t, err, stream.ErrBadKey, "%q", token)
	}
}

func TestPartitionAllocatesNothing(t *testing.T) {
	for _, key := range []string{"eu.web-042", "a b", "日本", ""} {
		require.Zero(t, testing.AllocsPerRun(100, func() { stream.Partition(key, 8) }), "%q", key)
	}
}

func TestPartitionOfNone(t *testing.T) {
	require.Zero(t, stream.Partition("k", 0))
	require.Zero(t, stream.Partition("k", -3))
}

// A plain NATS client behind the server's partition() mapping and Partition
// agree, for keys of one, two and three tokens, escaped ones included.
func TestPartitionEqualsServerMapping(t *testing.T) {
	const n = 13
	s := embeddedtest.StartWith(t, embedded.Config{Mappings: map[string]string{
		"one.*":       "out.{{partition(13,1)}}.{{wildcard(1)}}",
		"two.*.*":     "out.{{partition(13,1,2)}}.{{wildcard(1)}}.{{wildcard(2)}}",
		"three.*.*.*": "out.{{partition(13,1,2,3)}}.{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}",
	}})
	nc := embeddedtest.ConnectTo(t, s)
	sub, err := nc.SubscribeSync("out.>")
	require.NoError(t, err)
	ctx := testContext(t)

	keys := []string{"a", "web-042", "a b", "%", "日本", "a.b", "ab.c", "a.bc", "eu.web-042", "x.y.z", "a..b", ".a", "a.", "\xff.b", "*.>"}
	for i := range 200 {
		keys = append(keys, "host-"+strconv.Itoa(i), "dc"+strconv.Itoa(i%7)+".host-"+strconv.Itoa(i))
	}
	prefixes := map[int]string{1: "one.", 2: "two.", 3: "three."}
	for _, key := range keys {
		token := stream.EscapeKey(key)
		require.NoError(t, nc.Publish(prefixes[1+strings.Count(token, ".")]+token, nil))
		m, err := sub.NextMsgWithContext(ctx)
		require.NoError(t, err)
		require.Equal(t, "out."+strconv.Itoa(stream.Partition(key, n))+"."+token, m.Subject, "%q", key)
	}
}

// Every awkward key can be published and read back.
func TestAwkwardKeysOnTheServer(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	spec := stream.TopicSpec{Name: "t"}
	createTopic(t, c, spec)
	var out []stream.Outgoing
	for _, key := range awkwardKeys {
		out = append(out, stream.Outgoing{Topic: spec, Key: key, Data: []byte(key)})
	}
	require.NoError(t, c.Publish(ctx, out))
	got := readAll(t, c, spec, 0)
	require.Len(t, got, len(awkwardKeys))
	for i, m := range got {
		require.Equal(t, awkwardKeys[i], m.Key)
		require.Equal(t, awkwardKeys[i], string(m.Data))
	}
}
