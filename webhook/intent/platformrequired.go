package intent

// requiredFields are those of required: what namespaces with the label spiffe.io/inject=required take all the same.
var requiredFields = []platformField{{
	name:    "allow",
	doc:     "what pods may do in namespaces that require injection: " + docOfExceptions(),
	without: "nothing of it",
	schema:  listSchema(enumSchema(Exceptions()...)),
	parse: each(func(p *Platform, item string) error {
		p.AllowedExceptions = append(p.AllowedExceptions, Exception(item))
		return expectOneOf(item, Exceptions()...)
	}),
}}
