// validatorUrl is off because Swagger UI would otherwise send the document to a site of its makers.
SwaggerUIBundle({ url: "docs.json", dom_id: "#interface", deepLinking: true, validatorUrl: null });
