"""The pixels of cutouts before they are judged: cropped to a size, their margins filled."""
