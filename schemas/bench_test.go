package schemas_test

import (
	"bytes"
	stdjson "encoding/json"
	"os"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/santhosh-tekuri/jsonschema/v5"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/internal/benchtable"
	"github.com/rossby-streams/rossby/schemas"
)

// benchMetric has the 200 bytes of a usual sample.
const benchMetric = `{"host":"web-042.eu-central-1.example.com","name":"cpu_percent","value":81.53906,"unit":"percent",` +
	`"time":"2026-03-01T12:00:00.123456Z","cluster":"production","rack":"r17","collector":"host-agent/2.7.13"}`

// BenchmarkDecode compares the validating codec with what one writes with the bare library: decode for it, validate, decode into
// the type. Both work in turns, so that they see the same machine.
func BenchmarkDecode(b *testing.B) {
	s, err := schemas.Builtin("metric")
	require.NoError(b, err)
	codec := schemas.Codec[metric](s)
	text, err := os.ReadFile("metric.json")
	require.NoError(b, err)
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat = true
	require.NoError(b, compiler.AddResource("metric.json", bytes.NewReader(text)))
	bare, err := compiler.Compile("metric.json")
	require.NoError(b, err)
	doc := []byte(benchMetric)

	ours := func() error {
		_, err := codec.Decode(doc)
		return err
	}
	reference := func() error {
		d := stdjson.NewDecoder(bytes.NewReader(doc))
		d.UseNumber()
		var v any
		if err := d.Decode(&v); err != nil {
			return err
		}
		if err := bare.Validate(v); err != nil {
			return err
		}
		var m metric
		return json.Unmarshal(doc, &m)
	}
	time1 := func(n int, f func() error) time.Duration {
		start := time.Now()
		for range n {
			if err := f(); err != nil {
				b.Fatal(err)
			}
		}
		return time.Since(start)
	}
	const turn = 500
	var a, r time.Duration
	n := 0
	for b.Loop() {
		a += time1(turn, ours)
		r += time1(turn, reference)
		n += turn
	}
	perSecond := func(d time.Duration) float64 { return float64(n) / d.Seconds() }
	b.ReportMetric(float64(a.Nanoseconds())/float64(n), "ours-ns")
	b.ReportMetric(float64(r.Nanoseconds())/float64(n), "reference-ns")
	b.ReportMetric(r.Seconds()/a.Seconds(), "ratio")
	require.NoError(b, benchtable.Record("schemas: decode and validate a metric", perSecond(a), perSecond(r), "records/s"))
}

// BenchmarkValidate measures validation alone.
func BenchmarkValidate(b *testing.B) {
	s, err := schemas.Builtin("metric")
	require.NoError(b, err)
	for name, doc := range map[string]string{"valid": benchMetric, "refused": `{"host":"web-1","name":"","value":"high"}`} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Validate([]byte(doc)); (err == nil) != (name == "valid") {
					b.Fatal(err)
				}
			}
		})
	}
}
