package processor

import (
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func FuzzDecodeQuestion(f *testing.F) {
	for _, seed := range []string{
		`{"key":"k"}`, `{"escaped_key":"%FF"}`, `{"from":"a","to":"b","limit":10,"after":"a%20b"}`, `{}`, `null`, `{"limit":-1}`,
		`{"key":"k","from":"2024-01-01T00:00:00Z","to":"2025-01-01T00:00:00Z","after":"12/3"}`, `{"key":"k","after":"1/-1"}`, `[`, ``,
	} {
		for _, verb := range []string{verbGet, verbRange, verbWindows} {
			f.Add(verb, []byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, verb string, data []byte) {
		q, err := decodeQuestion(verb, data)
		if err != nil {
			return
		}
		require.True(t, q.limit >= 1 && q.limit <= maxQueryRows && q.skip >= 0)
		if q.resumed || q.skip > 0 || strings.ContainsRune(q.from+q.to, '\uFFFD') {
			return // what comes back in after is the other side's
		}
		again, err := q.encode()
		require.NoError(t, err)
		same, err := decodeQuestion(verb, again)
		require.NoError(t, err)
		if verb == verbRange {
			require.Equal(t, q, same)
			return
		}
		require.Equal(t, q.key, same.key)
		require.True(t, verb != verbWindows || q.since.Equal(same.since) && q.until.Equal(same.until))
	})
}

func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte(`{"store":"a.b","partition":1,"role":"owner","rows":[{"key":"k","value":1}],"positions":[{"topic":"t","next":3}],"more":"k"}`))
	f.Add([]byte(`{"rows":[{"key":"\ufffd","escaped_key":"%FF","value":"x","time":"2024-01-01T00:00:00Z"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, _, err := readAnswer[any](data)
		if err != nil {
			require.Empty(t, a.Rows)
		}
	})
}

// TestRowsTravel has every key and value come back as it was.
func TestRowsTravel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := string(rapid.SliceOf(rapid.Byte()).Draw(t, "key"))
		want := Row[int]{Key: key, Value: rapid.Int().Draw(t, "value"), Time: fromNanos(rapid.Int64Min(0).Draw(t, "time"))}
		data, err := encodeRow(key, seen{value: want.Value, time: want.Time})
		require.NoError(t, err)
		got, err := readRow[int](data)
		require.NoError(t, err)
		require.Equal(t, want, got)
		q := question{verb: verbGet, key: key, limit: 1}
		sent, err := q.encode()
		require.NoError(t, err)
		came, err := decodeQuestion(verbGet, sent)
		require.NoError(t, err)
		require.Equal(t, key, came.key)
	})
}

// TestPages takes stores apart in pages of random sizes: each row comes once, in order.
func TestPages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.MapOf(rapid.StringN(0, 3, -1), rapid.Int()).Draw(t, "rows")
		limit := rapid.IntRange(1, 5).Draw(t, "limit")
		v := &view{
			get: func(key string) (seen, bool) { value, ok := keys[key]; return seen{value: value}, ok },
			keys: func() iter.Seq[string] {
				return func(yield func(string) bool) {
					for key := range keys {
						if !yield(key) {
							return
						}
					}
				}
			},
			windows: nil,
		}
		got, last := 0, ""
		for after, resumed := "", false; ; resumed = true {
			q := question{verb: verbRange, limit: limit}
			if resumed {
				require.NoError(t, q.keyRange(questionJSON{After: after}))
			}
			p := page{limit: limit, max: 1 << 20}
			more, err := v.look(&q, &p)
			require.NoError(t, err)
			for _, data := range p.rows {
				row, err := readRow[int](data)
				require.NoError(t, err)
				require.True(t, got == 0 || row.Key > last)
				require.Equal(t, keys[row.Key], row.Value)
				got, last = got+1, row.Key
			}
			if after = more; more == "" {
				break
			}
		}
		require.Len(t, keys, got)
	})
}

// TestWindowPages takes the rows of a key apart in pages; many have the same time.
func TestWindowPages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		times := rapid.SliceOf(rapid.IntRange(0, 3)).Draw(t, "times")
		limit := rapid.IntRange(1, 5).Draw(t, "limit")
		var rows []seen
		for at := range 4 {
			for i, when := range times {
				if when == at {
					rows = append(rows, seen{value: i, at: fromNanos(int64(at))})
				}
			}
		}
		v := &view{windows: func(_ string, from, to time.Time) iter.Seq[seen] {
			return func(yield func(seen) bool) {
				for _, row := range rows {
					if !row.at.Before(from) && !row.at.After(to) && !yield(row) {
						return
					}
				}
			}
		}}
		var got []int
		for after := ""; ; {
			q := question{verb: verbWindows, limit: limit, since: minEventTime, until: maxEventTime}
			require.NoError(t, q.timeRange(questionJSON{After: after}))
			p := page{limit: limit, max: 1 << 20}
			more, err := v.look(&q, &p)
			require.NoError(t, err)
			for _, data := range p.rows {
				row, err := readRow[int](data)
				require.NoError(t, err)
				got = append(got, row.Value)
			}
			if after = more; more == "" {
				break
			}
		}
		require.Len(t, got, len(rows))
		for i, row := range rows {
			require.Equal(t, row.value, got[i])
		}
	})
}

// TestPageIsBounded has rows that are too large for one answer, and for any.
func TestPageIsBounded(t *testing.T) {
	v := &view{
		get:  func(string) (seen, bool) { return seen{value: strings.Repeat("x", 600)}, true },
		keys: func() iter.Seq[string] { return func(yield func(string) bool) { _ = yield("a") && yield("b") } },
	}
	p := page{limit: 10, max: 1000}
	more, err := v.look(&question{verb: verbRange, limit: 10}, &p)
	require.NoError(t, err)
	require.Len(t, p.rows, 1)
	require.Equal(t, "a", more)
	_, err = v.look(&question{verb: verbRange, limit: 10}, &page{limit: 10, max: 100})
	var refused *refusal
	require.ErrorAs(t, err, &refused)
	require.Contains(t, refused.text, `the row of key "a" has`)
}
