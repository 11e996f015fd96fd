package schemas

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestShape(t *testing.T) {
	s, err := Parse("x", []byte(`{"type":"object","properties":{
		"a":{"type":"number"},"s":{"enum":["x","y"]},"either":{"type":["string","null"]},"t":{"type":"string","format":"date-time"},
		"list":{"type":"array","items":{"$ref":"#"}},"any":true},"$defs":{}}`))
	require.NoError(t, err)
	shape := s.Shape()
	require.Equal(t, "object", shape.Type)
	require.Equal(t, &Shape{Type: "number"}, shape.Fields["a"])
	require.Equal(t, &Shape{Type: "string"}, shape.Fields["s"])
	require.Equal(t, &Shape{}, shape.Fields["either"])
	require.Equal(t, &Shape{Type: "string", Format: "date-time"}, shape.Fields["t"])
	require.Equal(t, &Shape{}, shape.Fields["any"])
	require.Equal(t, "number", shape.Fields["list"].Item.Fields["a"].Type)
	syslog, err := Builtin("syslog")
	require.NoError(t, err)
	require.Equal(t, "string", syslog.Shape().Fields["severity"].Type)
}
