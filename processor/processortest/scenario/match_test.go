package scenario

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// parsedStep reads a step whose assertion is under test.
func parsedStep(t *testing.T, text string) step {
	t.Helper()
	s, err := parseStep([]byte(text))
	require.NoError(t, err, text)
	return s
}

// out makes an output "value" of key at a time; a window makes it windowed.
func out(key, value string, ms int64, window ...int64) output {
	o := output{Key: key, Value: &value, Time: time.UnixMilli(ms)}
	if len(window) == 2 {
		o.Window = &[2]time.Time{time.UnixMilli(window[0]), time.UnixMilli(window[1])}
	}
	return o
}

func TestAssertionsOfOutputs(t *testing.T) {
	a1, a2, b1 := out("a", "1", 1), out("a", "2", 2), out("b", "1", 3)
	w1, w2 := out("a", "1", 1, 0, 10), out("a", "2", 2, 5, 15)
	null := output{Key: "a", Time: time.UnixMilli(1)}
	nobody := out("", "1", 1)
	headed := out("a", "1", 1)
	headed.Headers = map[string][]string{"h": {"x"}}
	list := func(outs ...output) []output { return outs }
	for i, c := range []struct {
		assert string
		got    []output
		ok     bool
	}{
		{`"expect": []`, nil, true},
		{`"expect": []`, list(a1), false},
		{`"expect": [{"key": "a", "value": 1}, {"key": "a", "value": "2"}]`, list(a1, a2), true},
		{`"expect": [{"key": "a", "value": 2}, {"key": "a", "value": 1}]`, list(a1, a2), false},
		{`"expect": [{"key": "a", "value": 1}]`, list(a1, a2), false},
		{`"expect": [{"key": "a", "value": 1}], "prefix": true`, list(a1, a2), true},
		{`"expect": [{"key": "a", "value": 1}], "prefix": true`, nil, false},
		{`"expect": [{"value": 1, "ts": 1}]`, list(a1), true},
		{`"expect": [{"value": 1, "ts": 2}]`, list(a1), false},
		{`"expect": [{"value": 1}]`, list(out("a", "01", 1)), false},
		{`"expect": [{"key": "a", "value": null}]`, list(null), true},
		{`"expect": [{"key": "a", "value": null}]`, list(out("a", "null", 1)), false},
		{`"expect": [{"key": "a", "value": "null"}]`, list(null), false},
		{`"expect": [{"key": null}]`, list(nobody), true},
		{`"expect": [{"key": null}]`, list(a1), false},
		{`"expect": [{"window": [0, 10]}]`, list(w1), true},
		{`"expect": [{"window": [0, 11]}]`, list(w1), false},
		{`"expect": [{"window": [0, 10]}]`, list(a1), false},
		{`"expect": [{"headers": {"h": "x"}}]`, list(headed), true},
		{`"expect": [{"headers": {}}]`, list(headed), false},
		{`"expect": [{"headers": {}}]`, list(a1), true},
		{`"expect": [{"headers": {"h": ["x", "y"]}}]`, list(headed), false},
		{`"expect": [{"key": "b"}, {"key": "a", "value": 1}, {"key": "a", "value": 2}], "order": "any"`, list(a1, b1, a2), true},
		{`"expect": [{"key": "b"}, {"key": "a", "value": 2}, {"key": "a", "value": 1}], "order": "any"`, list(a1, b1, a2), false},
		{`"expect": [{"key": "a", "value": 2}, {"key": "a", "value": 1}], "order": "any"`, list(w1, w2), true},
		{`"expect": [{"key": "b"}], "order": "any"`, list(a1, b1), false},
		{`"expect": [{"key": "b"}], "order": "any", "prefix": true`, list(a1, b1), true},
		{`"expect": [{"key": "a", "value": 2}, {"key": "a", "value": 1}], "order": "any-all"`, list(a1, a2), true},
		{`"expect": [{"key": "a"}, {"key": "a", "value": 1}], "order": "any-all"`, list(a1, a2), true},
		{`"expect": [{"value": 1}, {"value": 1}], "order": "any-all"`, list(a1, a2), false},
		{`"expect": [{"value": 1}], "order": "any-all"`, list(a1, a1), false},
		{`"expect": [{"key": "a", "value": 2}, {"key": "b"}], "order": "latest-per-key"`, list(a1, b1, a2), true},
		{`"expect": [{"key": "a", "value": 1}, {"key": "b"}], "order": "latest-per-key"`, list(a1, b1, a2), false},
		{`"expect_latest": [{"key": "a", "value": 2}]`, list(w1, w2), true},
		{`"expect_latest": [{"value": 2, "window": [5, 15]}, {"value": 1, "window": [0, 10]}]`, list(w1, w2), true},
		{`"expect_latest": [{"value": 2, "window": [5, 15]}]`, list(w1, w2), false},
		{`"expect_set": [{"value": 1}, {"value": 2}]`, list(a2, a1, a1), true},
		{`"expect_set": [{"value": 1}]`, list(a1, a2), false},
		{`"expect_set": [{"value": 1}, {"value": 2}, {"value": 3}]`, list(a1, a2), false},
		{`"expect_set": []`, nil, true},
		{`"expect_last": {"value": 2}`, list(a1, a2), true},
		{`"expect_last": [{"value": 1}]`, list(a1, a2), false},
		{`"expect_last": [{"value": 1}]`, nil, false},
	} {
		s := parsedStep(t, "{"+c.assert+"}")
		require.Equal(t, c.ok, s.Outputs.compare(c.got) == "", "%d: %s", i+1, c.assert)
	}
}

func TestAssertionsOfTables(t *testing.T) {
	rows := []output{out("a", "1", 1), out("b", "2", 2, 0, 10)}
	for text, ok := range map[string]bool{
		`[{"key": "a", "value": 1}, {"key": "b", "value": 2, "window": [0, 10], "ts": 2}]`:  true,
		`[{"key": "b", "value": 2}, {"key": "a", "value": 1}, {"key": "c", "value": null}]`: true,
		`[{"key": "a", "value": 1}]`:                                              false,
		`[{"key": "a", "value": 1}, {"key": "b", "value": null}]`:                 false,
		`[{"key": "a", "value": 1}, {"key": "b", "value": 2, "window": [0, 11]}]`: false,
		`[]`: false,
	} {
		s := parsedStep(t, `{"expect_table": {"entries": `+text+`}}`)
		require.Equal(t, ok, s.ExpectTable.compare(rows) == "", text)
	}
	s := parsedStep(t, `{"expect_table": {"subset": true, "entries": [{"key": "a", "value": 1}]}}`)
	require.Empty(t, s.ExpectTable.compare(rows))
	require.NotEmpty(t, s.ExpectTable.compare(nil))
}

// TestFinerTimesThanTheFormatHasAreSeen has an output half a millisecond beside the one that is wanted.
func TestFinerTimesThanTheFormatHasAreSeen(t *testing.T) {
	o := out("a", "1", 1)
	o.Time = o.Time.Add(500 * time.Microsecond)
	s := parsedStep(t, `{"expect": [{"ts": 1}]}`)
	require.Contains(t, s.Outputs.compare([]output{o}), "@1+500µs")
}

// TestEveryWishGetsAnOutputOfItsOwn has wishes that match several outputs, of which the first choice is the wrong one.
func TestEveryWishGetsAnOutputOfItsOwn(t *testing.T) {
	const n = 50
	want, got := make([]wanted, 0, n), make([]output, 0, n)
	for i := range n {
		w := wanted{Key: Value{Given: true, Text: "k"}}
		if i%2 == 1 {
			w.Value = Value{Given: true, Text: fmt.Sprint(i / 2)}
		}
		want = append(want, w)
		got = append(got, out("k", fmt.Sprint(i), int64(i)))
	}
	require.True(t, pairUp(want, got, false))
	require.False(t, pairUp(want, got[1:], false))
	want[0].Value = want[1].Value
	require.False(t, pairUp(want, got, false))
}

func TestTemplates(t *testing.T) {
	one, two := "1", "2"
	for description, want := range map[string]string{
		"{left},{right}": "1,2", "{key}:{right}{left}": "k:21", "int-sum": "3", "key-sum": "k:3",
	} {
		joiner, err := Joiner(description)
		require.NoError(t, err)
		got, err := joiner("k", &one, &two)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	joiner, err := Joiner("{left}+{right}")
	require.NoError(t, err)
	got, err := joiner("k", &one, nil)
	require.NoError(t, err)
	require.Equal(t, "1+null", got)
	joiner, err = Joiner("int-sum")
	require.NoError(t, err)
	got, err = joiner("k", nil, &two)
	require.NoError(t, err)
	require.Equal(t, "2", got)
	_, err = joiner("k", &description, nil)
	require.Error(t, err)
	_, err = Joiner("concat")
	require.ErrorIs(t, err, ErrNotApplicable)
	_, err = Joiner("")
	require.ErrorIs(t, err, ErrFormat)
}

var description = "text"
