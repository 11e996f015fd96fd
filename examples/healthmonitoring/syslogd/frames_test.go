package syslogd

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// result is one outcome of frames.next, in a form that can be compared.
type result struct {
	frame string
	err   string
}

// drain reads everything; it fails when the splitter makes no progress.
func drain(t *testing.T, in io.Reader, size int) (out []result) {
	f := newFrames(in)
	for range size + 2 {
		frame, err := f.next()
		require.LessOrEqual(t, len(frame), maxFrame)
		if err == nil {
			require.NotEmpty(t, frame)
			out = append(out, result{frame: string(frame)})
			continue
		}
		final := !errors.Is(err, ErrTooLong) || errors.Is(err, errLostFraming)
		if errors.Is(err, io.EOF) && len(frame) == 0 {
			return out
		}
		r := result{frame: string(frame), err: err.Error()}
		if errors.Is(err, errLostFraming) {
			r.frame = "" // as much as happened to be buffered
		}
		out = append(out, r)
		if final {
			return out
		}
	}
	require.Fail(t, "the splitter makes no progress")
	return nil
}

func frame(s string) result { return result{frame: s} }

func TestFrames(t *testing.T) {
	long := strings.Repeat("x", maxFrame)
	for name, c := range map[string]struct {
		in   string
		want []result
	}{
		"nothing":           {"", nil},
		"blanks only":       {"\n\r\n\x00\n", nil},
		"newlines":          {"<13>a\n<13>b\r\n<13>c", []result{frame("<13>a"), frame("<13>b\r"), frame("<13>c")}},
		"NULs":              {"<13>a\x00<13>b\x00\n<13>c\n\x00", []result{frame("<13>a"), frame("<13>b"), frame("<13>c")}},
		"counted":           {"5 <13>a6 <13>bc", []result{frame("<13>a"), frame("<13>bc")}},
		"counted, newlines": {"8 <13>a\nb\n\n5 <13>c\n", []result{frame("<13>a\nb\n"), frame("<13>c")}},
		"mixed":             {"<13>a\n5 <13>b<13>c\n5 <13>d\x00<13>e", []result{frame("<13>a"), frame("<13>b"), frame("<13>c"), frame("<13>d"), frame("<13>e")}},
		"a time first":      {"2026-11-03T05:00:01Z w a: x\n", []result{frame("2026-11-03T05:00:01Z w a: x")}},
		"a number first":    {"12 monkeys\n05 <13>\n1234567890 <\n", []result{frame("12 monkeys"), frame("05 <13>"), frame("1234567890 <")}},
		"numbers only":      {"123\n7 \n8", []result{frame("123"), frame("7 "), frame("8")}},
		"count too small":   {"4 <13>a\n<13>b\n", []result{frame("<13>"), frame("a"), frame("<13>b")}},
		"count too large":   {"9 <13>a\n", []result{{"<13>a\n", "ended within a message: 6 of 9 octets came: unexpected EOF"}}},
		"longest":           {long + "\n<13>a", []result{frame(long), frame("<13>a")}},
		"longest counted":   {"65536 <" + long[1:] + "5 <13>a", []result{frame("<" + long[1:]), frame("<13>a")}},
		"too long":          {long + "yz\n<13>a\n", []result{{long, "longer than 64 KiB"}, frame("<13>a")}},
		"too long, NUL":     {long + strings.Repeat("y", 200000) + "\x00<13>a\n", []result{{long, "longer than 64 KiB"}, frame("<13>a")}},
		"too long, no end":  {long + "yz", []result{{long, "longer than 64 KiB"}}},
		"too long, counted": {"65538 <" + long[1:] + "yz5 <13>a", []result{{"<" + long[1:], "longer than 64 KiB"}, frame("<13>a")}},
		"too long, cut":     {"999999 <" + long[1:] + "yz", []result{{"<" + long[1:], "longer than 64 KiB"}}},
		"beyond finding":    {"99999999 <13>a\n<13>b\n", []result{{"", errLostFraming.Error()}}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, drain(t, strings.NewReader(c.in), len(c.in)))
			if len(c.in) < 1000 {
				require.Equal(t, c.want, drain(t, iotest.OneByteReader(strings.NewReader(c.in)), len(c.in)), "byte by byte")
			}
			require.Equal(t, c.want, drain(t, iotest.HalfReader(strings.NewReader(c.in)), len(c.in)), "in pieces")
		})
	}
}

func TestFramesTellABrokenConnection(t *testing.T) {
	broken := errors.New("connection reset")
	f := newFrames(io.MultiReader(strings.NewReader("<13>a\n<13>b"), iotest.ErrReader(broken)))
	got, err := f.next()
	require.NoError(t, err)
	require.Equal(t, "<13>a", string(got))
	got, err = f.next()
	require.ErrorIs(t, err, broken)
	require.ErrorIs(t, err, ErrCutOff)
	require.Equal(t, "<13>b", string(got))
}

func FuzzFrames(f *testing.F) {
	for _, seed := range []string{"<13>a\n5 <13>b", "99999999 <", "70000 <\n\n", "1 <2 <x3 <", "\x00\r\n0 <", "5 <13>a\n\n12", "16777216 <13>"} {
		f.Add([]byte(seed), 3)
	}
	f.Fuzz(func(t *testing.T, in []byte, n int) {
		n = min(max(n, 1), 5000)
		whole := drain(t, bytes.NewReader(in), len(in))
		// How the network cuts the stream into pieces changes nothing.
		pieces := drain(t, &pieceReader{in: in, n: n}, len(in))
		require.Equal(t, whole, pieces)
		total := 0
		for _, r := range whole {
			total += len(r.frame)
		}
		require.LessOrEqual(t, total, len(in), "frames were made up")
	})
}

// pieceReader returns at most n bytes per read.
type pieceReader struct {
	in []byte
	n  int
}

func (p *pieceReader) Read(b []byte) (int, error) {
	if len(p.in) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.n)], p.in)
	p.in = p.in[n:]
	return n, nil
}

// FuzzStream sends garbage through framing and parsing, as a connection does.
func FuzzStream(f *testing.F) {
	f.Add([]byte("<13>a\n5 <13>b\n<34>1 - - - - - -\nxx"))
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, r := range drain(t, bytes.NewReader(in), len(in)) {
			_, err := ParseLine([]byte(r.frame), live())
			if err != nil {
				require.ErrorIs(t, err, ErrMalformed)
			}
		}
	})
}

func BenchmarkFrames(b *testing.B) {
	message := "<134>1 2023-01-29T15:44:07.621571Z web1 server - - - [verifyCode][result: false]"
	for name, stream := range map[string]string{
		"counted": strings.Repeat("80 "+message[:80], 1000),
		"newline": strings.Repeat(message+"\n", 1000),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f := newFrames(strings.NewReader(stream))
				for {
					if _, err := f.next(); err != nil {
						break
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/frame")
		})
	}
}
