package schemas

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"path"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v5"
)

//go:embed *.json
var builtin embed.FS

// scheme makes the names of files the absolute URLs that the library wants. It is not served by anybody.
const scheme = "file:///"

// Schema is a compiled schema. It is safe for concurrent use.
type Schema struct {
	name     string
	compiled *jsonschema.Schema
	// costly says that a document may take far longer to validate than to read.
	costly bool
	// quick says yes to most valid documents at once, if planned.
	quick   *plan
	planned bool
	readers sync.Pool // of *reader
}

// Builtin returns one of the schemas that come with Rossby: "metric", "syslog", "alarm" or "rules". The error for another
// name wraps ErrNoBuiltin.
func Builtin(name string) (*Schema, error) {
	file := name + ".json"
	if _, err := fs.Stat(builtin, file); err != nil {
		return nil, fmt.Errorf("%w: %q; there are metric, syslog, alarm and rules", ErrNoBuiltin, name)
	}
	return Load(builtin, file)
}

// Load compiles the schema in a file of fsys. It may refer to other files of fsys by their names, also where $id gives it an
// address: what has an address in the same folder is looked for beside it. The error is a *SchemaError.
func Load(fsys fs.FS, name string) (*Schema, error) {
	data, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, &SchemaError{File: name, Err: err}
	}
	return Sources{Files: fsys}.Parse(name, data)
}

// Parse compiles a schema from its text, which may refer to itself only. name is what errors call it. The error is a
// *SchemaError.
func Parse(name string, data []byte) (*Schema, error) { return Sources{}.Parse(name, data) }

// Sources says where a $ref may lead to beside its own file. The zero value is nowhere.
type Sources struct {
	// Files are files that it may name. nil: none.
	Files fs.FS
	// Fetch gets the text of a schema from its address when it is in none of the Files, over the network for example. What it gives has
	// the bounds of all schemas; how long it takes, and whom it asks, is its own business. nil: nothing is fetched.
	Fetch func(address string) ([]byte, error)
}

// Parse compiles a schema from its text, which may refer to itself and to the sources. name is what errors call it. The error is a
// *SchemaError.
func (from Sources) Parse(name string, data []byte) (s *Schema, err error) {
	defer func() {
		if p := recover(); p != nil { // the library panics on schemas that refer to themselves for ever
			s, err = nil, &SchemaError{File: name, Err: fmt.Errorf("%v", p)}
		}
	}()
	text, err := parseDocument(data) // before the library sees it: it has no bounds
	if err != nil {
		return nil, &SchemaError{File: name, Err: err}
	}
	if err := checkText(data, text); err != nil {
		return nil, &SchemaError{File: name, Err: err}
	}
	refs := references{Sources: from, dir: path.Dir(name)}
	if object, ok := text.(map[string]any); ok {
		if id, ok := object["$id"].(string); ok {
			refs.base = id[:strings.LastIndexByte(id, '/')+1]
		}
	}
	c := jsonschema.NewCompiler()
	c.Draft = jsonschema.Draft2020
	c.AssertFormat = true
	c.LoadURL = refs.open
	address := addressOf(name)
	if err := c.AddResource(address, bytes.NewReader(data)); err != nil {
		return nil, &SchemaError{File: name, Err: err}
	}
	compiled, err := c.Compile(address)
	if err != nil {
		var schemaErr *jsonschema.SchemaError
		if errors.As(err, &schemaErr) {
			err = schemaErr.Err
		}
		return nil, &SchemaError{File: name, Err: err}
	}
	costly, err := checkCompiled(compiled)
	if err != nil {
		return nil, &SchemaError{File: name, Err: err}
	}
	bare, err := jsonschema.CompileString("bare.json", "{}")
	if err != nil {
		return nil, &SchemaError{File: name, Err: err}
	}
	s = &Schema{name: strings.TrimSuffix(path.Base(name), ".json"), compiled: compiled, costly: costly}
	s.quick, s.planned = planFor(compiled, bare)
	s.readers.New = func() any { return new(reader) }
	return s, nil
}

// addressOf makes an address of a file's name, whatever characters it has.
func addressOf(name string) string {
	return (&url.URL{Scheme: "file", Path: path.Join("/", name)}).String()
}

// references finds what a $ref names in the sources of the schema, and nowhere else.
type references struct {
	Sources
	dir  string // of the schema
	base string // the address that its $id gives this folder, if any
}

func (r references) open(address string) (io.ReadCloser, error) {
	data, err := r.read(address)
	if err != nil {
		return nil, err
	}
	text, err := parseDocument(data)
	if err == nil {
		err = checkText(data, text)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", strings.TrimPrefix(address, scheme), err)
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

func (r references) read(address string) ([]byte, error) {
	file, ok := r.file(address)
	if ok && r.Fetch != nil {
		if _, err := fs.Stat(r.Files, file); err != nil {
			ok = false
		}
	}
	switch {
	case ok:
		return fs.ReadFile(r.Files, file)
	case r.Fetch != nil && !strings.HasPrefix(address, scheme):
		return r.Fetch(address)
	}
	return nil, fmt.Errorf("it refers to %s, which is not fetched: put the definition into the file, or into one beside it", address)
}

// file is the name of the file that an address means.
func (r references) file(address string) (string, bool) {
	if r.Files == nil {
		return "", false
	}
	if rest, ok := strings.CutPrefix(address, r.base); ok && r.base != "" {
		name, err := url.PathUnescape(rest)
		return path.Join(r.dir, name), err == nil
	}
	rest, ok := strings.CutPrefix(address, scheme)
	if !ok {
		return "", false
	}
	name, err := url.PathUnescape(rest)
	return name, err == nil
}

// Name returns the name of the schema: that of its file, without the ending.
func (s *Schema) Name() string { return s.name }

// Validate checks a document. The error is a *ValidationError that says which fields break which rules, or says why the document
// is not JSON that can be looked at.
func (s *Schema) Validate(data []byte) error {
	r := s.readers.Get().(*reader)
	defer func() {
		r.reset(nil) // holds on to nobody's bytes
		s.readers.Put(r)
	}()
	if s.planned && s.accepts(r.reset(data)) {
		return nil
	}
	v, err := r.parse(data)
	if err != nil {
		return fmt.Errorf("schemas: not a valid %s: %w", s.name, err)
	}
	if s.costly {
		if err := new(cost).add(v, map[*jsonschema.Schema]int{s.compiled: 1}); err != nil {
			return fmt.Errorf("schemas: not a valid %s: %w", s.name, err)
		}
	}
	return s.validate(v)
}

// accepts says yes at once, or that it does not know.
func (s *Schema) accepts(d *jsontext.Decoder) bool {
	if !s.quick.accepts(d) {
		return false
	}
	_, err := d.ReadToken()
	return errors.Is(err, io.EOF)
}

func (s *Schema) validate(v any) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("schemas: the schema %s cannot judge this document: %v", s.name, p)
		}
	}()
	err = s.compiled.Validate(v)
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return err
	}
	return newValidationError(s.name, invalid)
}
