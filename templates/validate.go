package templates

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// validate applies Envoy's own rules to a message (protoc-gen-validate), and to the messages packed inside of it, which the
// rules of the outer one skip. What breaks one would be rejected by Envoy when the pod already runs.
func validate(m proto.Message) error {
	var errs []error
	if v, hasRules := m.(interface{ ValidateAll() error }); hasRules {
		if err := v.ValidateAll(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", m.ProtoReflect().Descriptor().FullName(), err))
		}
	}
	eachPacked(m.ProtoReflect(), func(packed *anypb.Any) {
		inner, err := packed.UnmarshalNew()
		if err == nil {
			err = validate(inner)
		}
		errs = append(errs, err)
	})
	return errors.Join(errs...)
}

// eachPacked finds the packed messages of a message, but not those inside of packed ones.
func eachPacked(m protoreflect.Message, visit func(*anypb.Any)) {
	if packed, is := m.Interface().(*anypb.Any); is {
		visit(packed)
		return
	}
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsMap() && field.MapValue().Message() != nil:
			value.Map().Range(func(_ protoreflect.MapKey, item protoreflect.Value) bool {
				eachPacked(item.Message(), visit)
				return true
			})
		case field.IsList() && field.Message() != nil:
			for i := range value.List().Len() {
				eachPacked(value.List().Get(i).Message(), visit)
			}
		case !field.IsMap() && !field.IsList() && field.Message() != nil:
			eachPacked(value.Message(), visit)
		}
		return true
	})
}
