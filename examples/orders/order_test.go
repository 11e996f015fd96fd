package orders_test

import (
	_ "embed"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rossby-streams/rossby/examples/orders"
	"github.com/rossby-streams/rossby/schemas"
)

//go:embed order.json
var text []byte

func codec(t require.TestingT) schemas.ValidatingCodec[orders.Order] {
	schema, err := schemas.Parse("order.json", text)
	require.NoError(t, err)
	return schemas.Codec[orders.Order](schema)
}

// document draws what order.json accepts, every optional member there or not.
func document(t *rapid.T) map[string]any {
	word := rapid.StringMatching(`[a-zA-Z0-9 é"\\-]{1,20}`)
	moment := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds")).UTC()
	doc := map[string]any{"id": word.Draw(t, "id"), "placed": moment.Format(time.RFC3339Nano)}
	if rapid.Bool().Draw(t, "has customer") {
		doc["customer"] = rapid.StringMatching(`[a-z]{0,100}`).Draw(t, "customer")
	}
	if rapid.Bool().Draw(t, "has paid") {
		doc["paid"] = rapid.Bool().Draw(t, "paid")
	}
	var lines []any
	for range rapid.IntRange(1, 4).Draw(t, "lines") {
		line := map[string]any{"article": word.Draw(t, "article"), "count": rapid.IntRange(1, 1000).Draw(t, "count")}
		if rapid.Bool().Draw(t, "has price") {
			line["price"] = rapid.Float64Range(0, 1e6).Draw(t, "price")
		}
		lines = append(lines, line)
	}
	doc["lines"] = lines
	return doc
}

// TestDocumentsSurvive takes documents into values and back: they are the same, and valid all the way.
func TestDocumentsSurvive(t *testing.T) {
	c := codec(t)
	rapid.Check(t, func(t *rapid.T) {
		data, err := json.Marshal(document(t))
		require.NoError(t, err)
		order, err := c.Decode(data)
		require.NoError(t, err)
		back, err := c.Encode(order)
		require.NoError(t, err)
		require.JSONEq(t, string(data), string(back))
	})
}

// TestWhatDoesNotFit has values and documents that the types would take and the schema does not.
func TestWhatDoesNotFit(t *testing.T) {
	c := codec(t)
	valid := orders.Order{Id: "1", Placed: time.Unix(0, 0), Lines: []orders.OrderLinesElem{{Article: "a", Count: 1}}}
	_, err := c.Encode(valid)
	require.NoError(t, err)
	minus := -1.0
	for what, change := range map[string]func(*orders.Order){
		"no id":            func(o *orders.Order) { o.Id = "" },
		"a long id":        func(o *orders.Order) { o.Id = strings.Repeat("x", 41) },
		"no lines":         func(o *orders.Order) { o.Lines = nil },
		"no article":       func(o *orders.Order) { o.Lines = []orders.OrderLinesElem{{Count: 1}} },
		"too many":         func(o *orders.Order) { o.Lines = []orders.OrderLinesElem{{Article: "a", Count: 1001}} },
		"a negative price": func(o *orders.Order) { o.Lines = []orders.OrderLinesElem{{Article: "a", Count: 1, Price: &minus}} },
	} {
		order := valid
		change(&order)
		_, err := c.Encode(order)
		var invalid *schemas.ValidationError
		require.ErrorAs(t, err, &invalid, what)
	}
	for _, doc := range []string{`{}`, `{"id":"1","placed":"yesterday","lines":[{"article":"a","count":1}]}`, `{"id":"1","placed":"2026-01-01T00:00:00Z","lines":[{"article":"a","count":1.5}]}`, `{"id":"1","placed":"2026-01-01T00:00:00Z","lines":[{"article":"a","count":1}],"x":1}`} {
		_, err := c.Decode([]byte(doc))
		require.Error(t, err, doc)
	}
}
