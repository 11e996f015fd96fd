package processor

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
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
		`{"key":"k","at":"2024-01-01T00:00:00Z","wait_ms":250}`, `{"after":"3/k"}`, `{"after":"x/k"}`,
	} {
		for _, verb := range []string{verbGet, verbAsOf, verbRange, verbWindows, verbAll} {
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
		require.True(t, q.at.Equal(same.at) && q.wait == same.wait)
		require.True(t, verb != verbWindows && verb != verbAll || q.since.Equal(same.since) && q.until.Equal(same.until))
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
			keys: func(from string) iter.Seq2[[]byte, bool] {
				return func(yield func([]byte, bool) bool) {
					for i, key := range slices.Sorted(maps.Keys(keys)) {
						late := i%3 == 0 || key < from // it comes by itself, and perhaps again
						if late && !yield([]byte(key), false) {
							return
						}
					}
					for i, key := range slices.Sorted(maps.Keys(keys)) {
						if key >= from && (i%3 != 0 || i%2 == 0) && !yield([]byte(key), true) {
							return
						}
					}
				}
			},
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
		get: func(string) (seen, bool) { return seen{value: strings.Repeat("x", 600)}, true },
		keys: func(string) iter.Seq2[[]byte, bool] {
			return func(yield func([]byte, bool) bool) { _ = yield([]byte("a"), false) && yield([]byte("b"), false) }
		},
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

// TestAllPages takes the rows of all keys apart in pages.
func TestAllPages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.MapOf(rapid.StringN(0, 2, -1), rapid.SliceOfN(rapid.IntRange(0, 5), 1, 6)).Draw(t, "rows")
		limit := rapid.IntRange(1, 5).Draw(t, "limit")
		v := &view{
			spans: func() iter.Seq[string] { return maps.Keys(rows) },
			windows: func(key string, from, to time.Time) iter.Seq[seen] {
				return func(yield func(seen) bool) {
					for i, at := range slices.SortedStableFunc(slices.Values(rows[key]), cmp.Compare[int]) {
						row := seen{value: fmt.Sprint(at, i), at: fromNanos(int64(at))}
						if !row.at.Before(from) && !row.at.After(to) && !yield(row) {
							return
						}
					}
				}
			},
		}
		until := rapid.IntRange(0, 5).Draw(t, "to")
		var want, got []string
		for _, key := range slices.Sorted(maps.Keys(rows)) {
			for row := range v.windows(key, minEventTime, fromNanos(int64(until))) {
				want = append(want, fmt.Sprint(key, " ", row.value))
			}
		}
		for after := ""; ; {
			q := question{verb: verbAll, limit: limit, since: minEventTime, until: maxEventTime}
			require.NoError(t, q.allKeys(questionJSON{After: after, To: fromNanos(int64(until)).Format(time.RFC3339Nano)}))
			p := page{limit: limit, max: 1 << 20}
			more, err := v.look(&q, &p)
			require.NoError(t, err)
			for _, data := range p.rows {
				row, err := readRow[string](data)
				require.NoError(t, err)
				got = append(got, row.Key+" "+row.Value)
			}
			if after = more; more == "" {
				break
			}
		}
		require.Equal(t, want, got)
	})
}

// TestAnswersAreGivenUp looks through many keys for somebody who does not wait any more, and for a task that is leaving.
func TestAnswersAreGivenUp(t *testing.T) {
	looked := 0
	v := &view{keys: func(string) iter.Seq2[[]byte, bool] {
		return func(yield func([]byte, bool) bool) {
			for ; looked < 100*lookEvery; looked++ {
				if !yield([]byte(fmt.Sprint(looked)), false) {
					return
				}
			}
		}
	}}
	for _, reason := range []error{errMoved, errTooLate} {
		looked = 0
		_, err := v.look(&question{verb: verbRange, limit: 10}, &page{limit: 10, max: 1 << 20, wanted: func() error {
			if looked > 10*lookEvery {
				return reason
			}
			return nil
		}})
		require.ErrorIs(t, err, reason)
		require.Less(t, looked, 12*lookEvery)
	}
	require.True(t, (&asked{until: time.Now().Add(-time.Second)}).isVain())
	require.False(t, (&asked{until: time.Now().Add(time.Hour)}).isVain())
	require.False(t, (&asked{}).isVain())
}
