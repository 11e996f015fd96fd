package registry_test

import (
	"bytes"
	stdjson "encoding/json"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/santhosh-tekuri/jsonschema/v5"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/internal/benchtable"
	"github.com/rossby-streams/rossby/schemas/registry"
)

// BenchmarkEdge compares the codec of a topic that is tied to a subject of three versions with what one writes with the bare validator: decode for
// it, validate, decode into the type. Both work in turns, so that they see the same machine.
func BenchmarkEdge(b *testing.B) {
	r := tied(b, jetStream(b), one, two, strict)
	compiler := jsonschema.NewCompiler()
	require.NoError(b, compiler.AddResource("load.json", bytes.NewReader([]byte(strict))))
	bare, err := compiler.Compile("load.json")
	require.NoError(b, err)
	for name, doc := range map[string]string{"fits": `{"host":"web-042.example.com","load":0.75}`, "refused": `{"host":"web-042.example.com"}`} {
		for edge, cfg := range map[string]registry.Edge{"strict": {}, "sample-100": {Sample: 100}} {
			if name == "refused" && cfg.Sample > 0 {
				continue // it is refused once in a hundred only
			}
			b.Run(name+"/"+edge, func(b *testing.B) {
				codec := codecFor(b, r, cfg)
				edgeRun{name + ", " + edge, name == "fits", []byte(doc)}.compare(b, codec.Decode, func(data []byte) (load, error) {
					d := stdjson.NewDecoder(bytes.NewReader(data))
					d.UseNumber()
					var v any
					if err := d.Decode(&v); err != nil {
						return load{}, err
					}
					if err := bare.Validate(v); err != nil {
						return load{}, err
					}
					var l load
					return l, json.Unmarshal(data, &l)
				})
			})
		}
	}
}

// edgeRun is a document, and whether it fits.
type edgeRun struct {
	name string
	fits bool
	doc  []byte
}

// compare measures two ways of decoding the document.
func (e edgeRun) compare(b *testing.B, ours, reference func([]byte) (load, error)) {
	const turn = 200
	timed := func(f func([]byte) (load, error)) time.Duration {
		began := time.Now()
		for range turn {
			if _, err := f(e.doc); (err == nil) != e.fits {
				b.Fatal(err)
			}
		}
		return time.Since(began)
	}
	var o, r time.Duration
	n := 0
	for b.Loop() {
		o += timed(ours)
		r += timed(reference)
		n += turn
	}
	b.ReportMetric(float64(o.Nanoseconds())/float64(n), "ours-ns")
	b.ReportMetric(float64(r.Nanoseconds())/float64(n), "reference-ns")
	b.ReportMetric(r.Seconds()/o.Seconds(), "ratio")
	require.NoError(b, benchtable.Record("schemas: decode at the edge by the registry, "+e.name, float64(n)/o.Seconds(), float64(n)/r.Seconds(), "records/s"))
}
